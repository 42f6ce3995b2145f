"""Write texts with distilabel's LlamaCppLLM; run by `peers` in an interpreter that has it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Arguments: model file, work file, threads. Prints tokens and seconds as JSON."""
    from distilabel.models import LlamaCppLLM

    told = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    threads = int(sys.argv[3])
    llm = LlamaCppLLM(
        model_path=sys.argv[1],
        n_ctx=1024,
        extra_kwargs={"n_threads": threads, "n_threads_batch": threads},
    )
    llm.load()
    chats = [[{"role": "user", "content": turn}] for turn in told["turns"]]

    def write(inputs: list[list[dict[str, str]]]) -> int:
        made = llm.generate(
            inputs=inputs, max_new_tokens=told["tokens"], temperature=0.9, top_p=0.95
        )
        return sum(sum(output["statistics"]["output_tokens"]) for output in made)

    write(chats[:1])
    start = time.perf_counter()
    written = write(chats)
    print(json.dumps({"tokens": written, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
