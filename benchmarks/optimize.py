"""What `optimize` keeps of ten architectures with random weights.

    python tests/optimize_all.py
    python tests/optimize_all.py --real swin convnext

Prints each format that was tried and what came of it. With `--real` the models have the sizes of
published checkpoints, which takes minutes each.
"""

import argparse
import tempfile
from pathlib import Path

from nsfw_app.models.cards import first_policy
from nsfw_app.models.optimize.optimizer import OptimizationConfig, optimize
from nsfw_app.models.selection import BackendConfig
from tests.support.architectures import architectures, save
from tests.support.server import ROOT  # noqa: F401  (puts the product on the path)


def main() -> None:
    """Optimize each."""
    parser = argparse.ArgumentParser(description="What optimize keeps of ten architectures.")
    parser.add_argument("names", nargs="*", default=list(architectures()))
    parser.add_argument("--real", action="store_true", help="the sizes of published checkpoints")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    for name in chosen.names:
        with tempfile.TemporaryDirectory() as folder:
            model = save(name, Path(folder) / name, real=chosen.real)
            backends = BackendConfig(
                "auto",
                Path(folder) / "engines",
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
