"""Training: a candidate from a training set, compared with the current model, written if better.

- Nothing but features is on disk until the end: the model is written under a hidden name, and
  renamed when it is complete and kept.
- What is compared is the written model, loaded as any other. Where only its head is new, its head
  scores the features that are known, and a few images show that the whole model does the same.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app import __version__
from nsfw_app.dataset_errors import TrainingError
from nsfw_app.datasets.held_out_images import FittedImages, check_files, too_few_agreements
from nsfw_app.datasets.model_output import checked_output, keep
from nsfw_app.datasets.partial_output import partial_directory, write_errors
from nsfw_app.datasets.training_report import TrainingReport
from nsfw_app.datasets.training_set import Labeled, Split, TrainingSet, read_training_set
from nsfw_app.errors import ModelUnsupported
from nsfw_app.evidence.replacement import HeldOut, Outcome, Replacement, compare_candidate
from nsfw_app.models.artifacts import ModelVersion
from nsfw_app.models.backends.pytorch import TransformersBackend, device
from nsfw_app.models.cards import FALCONSAI
from nsfw_app.models.checkpoints import load_errors
from nsfw_app.models.hub import find
from nsfw_app.models.loader import PACKAGED
from nsfw_app.models.selection import AUTO, TORCH, BackendConfig, fastest_precision
from nsfw_app.models.training import fine_tuning
from nsfw_app.models.training.features import Features, compute_features, delete_features
from nsfw_app.models.training.fine_tuning import FineTuning, TrainingData, blocks_text
from nsfw_app.models.training.head import Floats, Head, log_odds, nsfw_scores, update_head
from nsfw_app.models.training.model_files import open_model, score_test_images, write_model
from nsfw_app.models.training.regression import FittedHead, best_level, fit_head, fit_update

PACKAGES = ("torch", "transformers", "scikit-learn")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What to train from what.

    - `directory` is the training set, `output` where the model is written.
    - `model` and `revision` name the current model, which is trained on; `unsafe_labels` are those
      that are not known words.
    - `blocks` is how many of the last encoder blocks are trained, too.
    - `seed` is of folds, parts, and the order of images.
    - `force` writes a model that is not shown to be better.
    """

    directory: Path
    output: Path
    model: str
    revision: str
    unsafe_labels: Sequence[str]
    blocks: int = 0
    seed: int = 0
    force: bool = False

    @property
    def features_dir(self) -> Path:
        """Where features are kept until the model is written."""
        path = self.output.expanduser().absolute()
        return path.with_name(f"{path.name}.features")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where progress is shown: sentences, and a step of so many images, one call after each."""

    say: Callable[[str], None]
    track: Callable[[int], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains a model and compares it with the current one; writes it if it is better, or forced.

    - `backends` says whether half precision may be used, where its parity reports are, and which
      policy is in force for the current model.
    - `threads` are CPU threads.
    """

    config: TrainingConfig
    backends: BackendConfig
    threads: int
    progress: Progress

    def train(self) -> TrainingReport:
        """Train, compare, and keep or discard the result.

        Raises:
            TrainingSetError: The training set cannot be read or used.
            TrainingError: The output exists, features or model cannot be written, or the model
                has fewer blocks.
            ModelError: The model cannot be loaded, is not a transformers model, or has no head.
        """
        name = FALCONSAI if self.config.model == AUTO else self.config.model
        output = checked_output(self.config.output, current=name)
        if name in PACKAGED:
            raise ModelUnsupported(
                f"{name} cannot be trained, because it is not a transformers model. Name one with "
                "--model or NSFW_MODEL."
            )
        read = read_training_set(self.config.directory)
        source, original = self._load(name)
        fitted = FittedImages.read(name, source)
        images, left_out = fitted.left_out(read)
        if left_out:
            self.progress.say(
                f"Leaving out {left_out:,} images of the test split: {original.origin.model} was "
                "fitted to them or to near duplicates of them."
            )
        if missing := too_few_agreements(images):
            self.progress.say(missing)
        # Features are computed by torch, not by an optimized model, in the faster precision.
        wanted = TORCH if self.backends.wanted == TORCH else AUTO
        current = fastest_precision(original, replace(self.backends, wanted=wanted))

        train, test = images.labeled(Split.TRAIN), images.labeled(Split.TEST)
        paths, count = [*train.paths, *test.paths], len(train.paths)
        features = self._features(current, paths)
        listed = [image for split in Split for image in images.splits[split]]
        check_files(listed, features.hashes, train=count)
        train_features, test_features = features[:count], features[count:]
        self.progress.say(f"Fitting a head to {count:,} images.")
        unsafe_labels = Head(original).unsafe
        current_log_odds = log_odds(train_features.logits, unsafe_labels)
        head = fit_head(
            train_features.values,
            current_log_odds,
            train.unsafe,
            train.groups,
            train.weights,
            seed=self.config.seed,
            threshold=self._threshold(original),
        )
        candidate, tuning = self._tuned(
            original, head, train_features.values, current_log_odds, train
        )
        scores = nsfw_scores(test_features.logits, unsafe_labels)
        with write_errors(output, TrainingError), partial_directory(output) as partial:
            write_model(candidate, source, partial, roles=original.roles)
            is_tuned = tuning is not None and tuning.best_epoch > 0
            known = None if is_tuned else test_features.values
            replacement = self._compared(partial, current, scores, test, known)
            report = self._report(images, left_out, current, head, tuning, replacement)
            if report.written:
                fitted.write(partial, (image.sha256 for image in images.splits[Split.TRAIN]))
                keep(partial, output, report)
                delete_features(self.config.features_dir)
        return report

    def _load(self, name: str) -> tuple[Path, TransformersBackend]:
        """Directory and weights of the current model, which is checked to be one to train."""
        with load_errors(name):
            files = find(name, revision=self.config.revision)
            origin = ModelVersion.of_files(name, files)
            self.progress.say(f"Loading {origin.model}, revision {origin.revision}.")
            original = TransformersBackend(
                origin,
                files=files,
                unsafe_labels=self.config.unsafe_labels,
                threads=self.threads,
                device=device(),
            )
        Head(original)
        fine_tuning.check_blocks(original, self.config.blocks)
        return files.directory, original

    def _features(self, current: TransformersBackend, paths: Sequence[Path]) -> Features:
        self.progress.say(
            f"Computing features of {len(paths):,} images with {current.identity.backend}."
        )
        with self.progress.track(len(paths)) as advance:
            features = compute_features(
                paths,
                current,
                directory=self.config.features_dir,
                threads=self.threads,
                advance=advance,
            )
        computed = zip(features.values, features.logits, paths, strict=True)
        failed = [
            path for *row, path in computed if not all(np.isfinite(each).all() for each in row)
        ]
        if failed:
            raise TrainingError(
                f"{current.origin.model} returns no numbers for {len(failed):,} of {len(paths):,} "
                f"images, the first is {failed[0].name}. Try it with NSFW_BACKEND=torch, in 32-bit "
                "floats, or leave these images out."
            )
        return features

    def _tuned(
        self,
        original: TransformersBackend,
        head: FittedHead,
        features: NDArray[np.float32],
        current_log_odds: Floats,
        train: Labeled,
    ) -> tuple[Any, FineTuning | None]:
        """The model with its new head, and with its last blocks trained where that helps."""
        unsafe_labels = Head(original).unsafe
        with_head = copy.deepcopy(original.model)
        update_head(with_head, head.update, unsafe_labels)
        if not self.config.blocks:
            return with_head, None
        data = TrainingData(train.paths, train.unsafe, train.groups, train.weights, level=0.0)
        fitted, _ = data.split(seed=self.config.seed)
        # The validation part must be new to the head, too.
        update = fit_update(
            features[fitted],
            current_log_odds[fitted],
            train.unsafe[fitted],
            train.weights[fitted],
            penalty=head.penalty,
            threshold=self._threshold(original),
        )
        log_odds_now = current_log_odds + features @ update.weights + update.bias
        level = best_level(log_odds_now[fitted], train.unsafe[fitted], train.weights[fitted])
        tuned = copy.deepcopy(original.model)
        update_head(tuned, update, unsafe_labels)
        self.progress.say(f"Fine-tuning the last {blocks_text(self.config.blocks)}.")
        tuning = fine_tuning.fine_tune(
            tuned,
            original,
            replace(data, level=level),
            blocks=self.config.blocks,
            seed=self.config.seed,
            threads=self.threads,
            progress=self.progress.say,
        )
        return (tuned if tuning.best_epoch else with_head), tuning

    def _compared(
        self,
        directory: Path,
        current: TransformersBackend,
        scores: Floats,
        test: Labeled,
        features: NDArray[np.float32] | None,
    ) -> Replacement:
        """The written model and the current one on the test split; features if both have them."""
        self.progress.say(f"Scoring {len(test.paths):,} held-out images with the new model.")
        opened = open_model(
            directory,
            self.config.output.name,
            unsafe_labels=self.config.unsafe_labels,
            like=current,
            threads=self.threads,
        )
        with self.progress.track(len(test.paths)) as advance:
            candidate = score_test_images(
                test.paths, features, opened, threads=self.threads, advance=advance
            )
        return compare_candidate(
            scores,
            candidate,
            HeldOut(
                test.unsafe,
                test.groups,
                test.corrections,
                test.weights,
                test.agreed,
                test.assumed,
            ),
            threshold=self._threshold(current),
        )

    def _threshold(self, current: TransformersBackend) -> float:
        """That of the policy in force for the current model."""
        return self.backends.policy_of(current.origin.model).threshold

    def _report(
        self,
        images: TrainingSet,
        left_out: int,
        current: TransformersBackend,
        head: FittedHead,
        tuning: FineTuning | None,
        replacement: Replacement,
    ) -> TrainingReport:
        return TrainingReport(
            name=self.config.output.name,
            model=current.origin,
            backend=current.identity.backend,
            training_set=images.name,
            training_set_sha256=images.sha256,
            counts={split: images.counts(split) for split in Split},
            groups={split: len({each.group for each in images.splits[split]}) for split in Split},
            left_out=left_out,
            head=head,
            fine_tuning=tuning,
            replacement=replacement,
            seed=self.config.seed,
            versions={"nsfw-review": __version__} | {name: version(name) for name in PACKAGES},
            written=self.config.force or replacement.outcome is Outcome.BETTER,
        )
