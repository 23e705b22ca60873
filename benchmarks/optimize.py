"""Formats that `optimize` keeps for ten architectures with random weights.

    python -m benchmarks.optimize
    python -m benchmarks.optimize --real swin convnext

Prints each format that was tried and its outcome. With `--real` the models have the sizes of
published checkpoints, which takes minutes each.
"""

import argparse
import tempfile
from pathlib import Path

from nsfw_app.models.cards import first_policy
from nsfw_app.models.optimize.optimizer import OptimizationConfig, optimize
from nsfw_app.models.selection import BackendConfig
from tests.support.architectures import architectures, save


def main() -> None:
    """Optimize each architecture."""
    parser = argparse.ArgumentParser(
        description="Formats that optimize keeps for ten architectures."
    )
    parser.add_argument("names", nargs="*", default=list(architectures()))
    parser.add_argument(
        "--real", action="store_true", help="use the sizes of published checkpoints"
    )
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    for name in chosen.names:
        with tempfile.TemporaryDirectory() as folder:
            model = save(name, Path(folder) / name, real=chosen.real)
            backends = BackendConfig(
                "auto",
                Path(folder) / "artifacts",
                lambda model: first_policy(model, threshold=None, band=(0.2, 0.8)),
            )
            print(f"\n{name}", flush=True)
            optimize(
                OptimizationConfig(str(model), "main", ()),
                backends,
                threads=chosen.threads,
                progress=lambda text: print(f"  {text}", flush=True),
            )


if __name__ == "__main__":
    main()
