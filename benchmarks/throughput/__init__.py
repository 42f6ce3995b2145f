"""The sections of `benchmarks.teacher_throughput`, each a module that also runs by itself."""
