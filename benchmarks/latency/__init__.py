"""How long answers take: the student in torch, ONNX, INT8 and nano, and the teacher.

    python -m benchmarks.latency --student DIR [--teacher MODEL] [--json FILE] [--quick]

The same as `evokd bench`. `bench` puts it together, `scenarios` times, `rows` holds what answers,
`child` starts a row in a process of its own, `material` finds the texts, `table` prints.
"""
