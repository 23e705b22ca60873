"""Simulations of the evidence, with known truth: `python -m benchmarks.evidence`.

Prints one JSON object. Shares are of runs, from 0 to 1:

- `power`: `certified`, how often recall 0.95 is certified at 0.2 or higher with confidence 0.9, and
  `median_reviews` until the first look that shows it, of those runs. One looks every 25 reviews.
- `errors`: how often a model whose recall is 0.94 at every candidate is certified at any look.
- `attacks`: the same for streams that are chosen to break the bets, with a recall of 0.001 below
  the target.
- `late_labels`: how often a model whose recall is 0.94, by misses in a narrow range of scores, is
  certified at any look, one after every 100 labels, if draws are not known and labels come in these
  orders.
- `forecasts`: the reviews that a certificate is forecast to take after so many reviews, as a part
  of those that it took; medians, with the draws known and not known.
- `rolling`: the same if each look takes the latest 50,000 of 500,000 images, in place of all.
- `bounds`: how often any bound of recall exceeds the truth, in runs of the reference stream.
- `coverage`: how often intervals of 95 % contain the truth, by case and number.
- `calibration_error`: how often its interval of 95 % contains the truth, its mean, and the mean of
  the seen errors, by truth and number of images.
- `drift`: how often an alarm is raised without a change, and the median delay after one.
- `times_ms`: medians, by number of images.

Certificates only grow with the images, so that the first look that has one is found by bisection,
and one look at the end shows whether there was any. Limits on errors are 0.1 and two standard
errors of the simulation above.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.drift import rate_drift, score_drift
from nsfw_app.evidence.estimates import estimate
from nsfw_app.evidence.guarantee import CANDIDATES as HUNDREDTHS
from nsfw_app.evidence.guarantee import certify_threshold, recall_bounds
from nsfw_app.evidence.population import Population
from nsfw_app.evidence.sample import Sample
from nsfw_app.evidence.summary import summarize
from nsfw_app.records import Policy
from nsfw_app.rules.audit_plan import AuditPlan
from tests.support.miscalibration import TRUTHS, simulated, true_error
from tests.support.streams import (
    CANDIDATES,
    COVERAGE_CASES,
    HIGH,
    Plan,
    audit_plan,
    band_and_audits,
    coverage,
    ever_rarer_ranges,
    everything,
    failing_stream,
    first_images,
    joined,
    label_orders,
    labels_revealed,
    one_in_twenty,
    one_rare_range,
    rare_audits,
    stream,
    true_recall,
    with_known_draws,
)

IMAGES = 50_000
RECALL, CONFIDENCE = 0.95, 0.9
CERTIFIED_FROM = 0.2
FAILING_RECALL = 0.94
LOOK_EVERY = 25  # reviews
MISTAKES = 0.1  # share of safe images with a score of 0.95
NARROW = ((0.0, 0.0001), (0.0, 0.001), (0.195, 0.2))  # scores of all misses, in `late_labels`
FORECAST_AFTER = (500, 1_000, 2_000)  # reviews
BELOW = 0.001  # the target, of the recall in attacks
WINDOW, WINDOW_STEP, WINDOWS_IMAGES = 50_000, 10_000, 500_000
REFERENCES = (300, 10_000)
DISAGREEMENTS, MORE_DISAGREEMENTS = 0.04, 0.08
Make = Callable[[np.random.Generator], Sample]


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__)
    parser.add_argument("--runs", type=int, default=500, help="of streams of 50,000 images")
    parser.add_argument("--coverage-runs", type=int, default=2_000)
    parser.add_argument("--only", nargs="*", help="parts to run; all by default")
    parser.add_argument("--timed-images", type=int, nargs="*", default=[100_000, 1_000_000])
    chosen = parser.parse_args()
    parts: dict[str, Callable[[], Any]] = {
        "power": lambda: {name: power(make, chosen.runs) for name, make in GOOD.items()},
        "errors": lambda: {name: error_rate(make, chosen.runs) for name, make in FAILING.items()},
        "attacks": lambda: attacks(chosen.runs),
        "late_labels": lambda: late_labels(max(1, chosen.runs // 10)),
        "forecasts": lambda: forecasts(max(1, chosen.runs // 5)),
        "rolling": lambda: rolling_error_rate(max(1, chosen.runs // 5)),
        "bounds": lambda: bound_error_rate(max(1, chosen.runs // 2)),
        "coverage": lambda: coverages(chosen.coverage_runs),
        "calibration_error": lambda: calibration_errors(chosen.runs),
        "drift": lambda: drift(chosen.runs),
        "times_ms": lambda: {str(images): times_ms(images) for images in chosen.timed_images},
    }
    found: dict[str, Any] = {
        "runs": chosen.runs,
        "coverage_runs": chosen.coverage_runs,
        "error_limit": round(0.1 + 2 * float(np.sqrt(0.1 * 0.9 / chosen.runs)), 4),
    }
    for name, measure in parts.items():
        if chosen.only and name not in chosen.only:
            continue
        start = time.monotonic()
        found[name] = measure()
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    print(json.dumps(found))


def _rates_change(make: Callable[..., Sample], plans: tuple[Plan, Plan]) -> Make:
    """Half of the images under one plan, then half under another."""
    return lambda rng: joined(*(make(rng, IMAGES // 2, plan) for plan in plans))


_failing = partial(failing_stream, recall=FAILING_RECALL)
_FEWER, _MORE = (band_and_audits, audit_plan), (audit_plan, band_and_audits)
GOOD: dict[str, Make] = {
    "reference": lambda rng: stream(rng, IMAGES),
    "reference, draws known": lambda rng: with_known_draws(stream(rng, IMAGES)),
    "confident mistakes": lambda rng: stream(rng, IMAGES, confident_mistakes=MISTAKES),
    "fewer audits of low scores from the middle": _rates_change(stream, _FEWER),
    "more audits of low scores from the middle": _rates_change(stream, _MORE),
}
FAILING: dict[str, Make] = {
    "reference": lambda rng: _failing(rng, IMAGES),
    "reference, draws known": lambda rng: with_known_draws(_failing(rng, IMAGES)),
    "confident mistakes": lambda rng: _failing(rng, IMAGES, confident_mistakes=MISTAKES),
    "fewer audits of low scores from the middle": _rates_change(_failing, _FEWER),
    "more audits of low scores from the middle": _rates_change(_failing, _MORE),
}
ATTACK_PLANS: dict[str, Plan] = {
    "all reviewed": everything,
    "5 %": one_in_twenty,
    "band, 0.2 % elsewhere": rare_audits,
    "all misses in a range of 0.2 %": one_rare_range,
    "five rates, ever smaller": ever_rarer_ranges,
}


def power(make: Make, runs: int) -> dict[str, float | None]:
    """How often a stream is certified at `CERTIFIED_FROM`, and after how many reviews."""
    rng = np.random.default_rng(1)
    looks = [look for _ in range(runs) if (look := first_certificate(make(rng))) is not None]
    return {
        "certified": len(looks) / runs,
        "median_reviews": statistics.median(looks) if looks else None,
    }


def first_certificate(sample: Sample, *, at_least: float = CERTIFIED_FROM) -> int | None:
    """The reviews at the first look that certifies a threshold, or a higher one."""
    arrived = np.flatnonzero(sample.reviewed)[LOOK_EVERY - 1 :: LOOK_EVERY] + 1
    first, last = 0, len(arrived)
    while first < last:
        middle = (first + last) // 2
        if (_certified(first_images(sample, int(arrived[middle]))) or -1) >= at_least:
            last = middle
        else:
            first = middle + 1
    return None if first == len(arrived) else (first + 1) * LOOK_EVERY


def error_rate(make: Make, runs: int) -> float:
    """How often a stream that misses the target at every candidate is certified."""
    rng = np.random.default_rng(2)
    return sum(_certified(make(rng)) is not None for _ in range(runs)) / runs


def attacks(runs: int) -> dict[str, float]:
    """Error rates by prevalence, target and plan; a half of the runs has confident mistakes."""
    found = {}
    for images, prevalence in ((1_000, 0.5), (20_000, 0.5), (20_000, 0.06)):
        for target in (0.5, 0.95, 0.99):
            for name, plan in ATTACK_PLANS.items():
                rng, wrong = np.random.default_rng(3), 0
                for run in range(runs):
                    sample = failing_stream(
                        rng,
                        images,
                        plan,
                        recall=target - BELOW,
                        prevalence=prevalence,
                        confident_mistakes=MISTAKES * (run % 2),
                    )
                    wrong += _certified(sample, recall=target) is not None
                found[f"{images} images, {prevalence:g} unsafe, recall {target:g}, {name}"] = (
                    wrong / runs
                )
    return found


def late_labels(runs: int) -> dict[str, float]:
    """Error rates by the order in which the labels of all images come."""
    rng = np.random.default_rng(9)
    wrong: dict[str, int] = {}
    for run in range(runs):
        sample = _failing(
            rng,
            IMAGES,
            confident_mistakes=MISTAKES * (run % 2),
            missed_scores=NARROW[run % len(NARROW)],
        )
        for name, order in label_orders(rng, sample).items():
            looks = labels_revealed(sample, order, 100)
            wrong[name] = wrong.get(name, 0) + any(
                _certified(look, candidates=np.array([0.2, HIGH])) is not None for look in looks
            )
    return {name: count / runs for name, count in wrong.items()}


def forecasts(runs: int) -> dict[str, float | None]:
    """Forecasts of the reviews that a certificate takes, as a part of the true number."""
    ratios: dict[str, list[float]] = {}
    for known in (True, False):
        rng = np.random.default_rng(10)
        for _ in range(runs):
            sample = stream(rng, IMAGES)
            if known:
                sample = with_known_draws(sample)
            if (needed := first_certificate(sample, at_least=0)) is None:
                continue
            places = np.flatnonzero(sample.reviewed) + 1
            for reviews in FORECAST_AFTER:
                start = certify_threshold(
                    first_images(sample, int(places[reviews - 1])),
                    recall=RECALL,
                    confidence=CONFIDENCE,
                    candidates=CANDIDATES,
                )
                name = f"{reviews} reviews, draws {'' if known else 'not '}known"
                if reviews < needed:
                    forecast = np.inf if start.more_reviews is None else start.more_reviews
                    ratios.setdefault(name, []).append(forecast / (needed - reviews))
    return {name: round(statistics.median(each), 2) for name, each in ratios.items()}


def rolling_error_rate(runs: int) -> float:
    """How often the latest images are certified at any look, if each look leaves out older ones."""
    rng, wrong = np.random.default_rng(4), 0
    for _ in range(runs):
        sample = _failing(rng, WINDOWS_IMAGES)
        starts = range(0, WINDOWS_IMAGES - WINDOW + 1, WINDOW_STEP)
        wrong += any(
            _certified(sample.subset(np.arange(start, start + WINDOW))) is not None
            for start in starts
        )
    return wrong / runs


def bound_error_rate(runs: int) -> float:
    """How often any of the bounds at the candidates exceeds the recall of a good model."""
    rng, wrong = np.random.default_rng(8), 0
    right = np.array([true_recall(threshold) for threshold in CANDIDATES])
    for _ in range(runs):
        bounds = recall_bounds(stream(rng, IMAGES), confidence=CONFIDENCE, thresholds=CANDIDATES)
        wrong += bool(np.any(bounds > right))
    return wrong / runs


def coverages(runs: int) -> list[dict[str, Any]]:
    """How often intervals contain the truth, for the cases of the tests and more."""
    return [
        {
            "case": {**case._asdict(), "plan": case.plan.__name__},
            "covered": coverage(case, runs, seed=5),
        }
        for case in COVERAGE_CASES
    ]


def calibration_errors(runs: int) -> dict[str, dict[str, float]]:
    """Coverage and bias of the expected calibration error, with and without audits."""
    found = {}
    for name in TRUTHS:
        right = true_error(name)
        for images, audits in itertools.product((200, 1_000, 5_000), (False, True)):
            rng = np.random.default_rng(images)
            errors = [simulated(rng, name, images, audits=audits) for _ in range(runs)]
            found[f"{name}, {images} images{', audits' if audits else ''}"] = {
                "truth": round(right, 4),
                "covered": sum(each.lower <= right <= each.upper for each, _ in errors) / runs,
                "mean": round(statistics.mean(each.value for each, _ in errors), 4),
                "seen": round(statistics.mean(seen for _, seen in errors), 4),
            }
    return found


def drift(runs: int) -> dict[str, Any]:
    """False alarms over 20,000 recent images or reviews, and delays in those after a change."""
    rng = np.random.default_rng(6)
    recent = 20_000

    def scores(images: int) -> NDArray[Any]:
        return stream(rng, images).scores

    def disagreements(images: int, rate: float = DISAGREEMENTS) -> NDArray[Any]:
        return rng.random(images) < rate

    found: dict[str, Any] = {}
    for count in REFERENCES:
        same = [score_drift(scores(count), scores(recent)).shown for _ in range(runs)]
        steady = [rate_drift(disagreements(count), disagreements(recent)) for _ in range(runs)]
        moved = [
            score_drift(scores(count), np.sqrt(scores(recent))) for _ in range(max(1, runs // 5))
        ]
        risen = [
            rate_drift(disagreements(count), disagreements(recent, MORE_DISAGREEMENTS))
            for _ in range(max(1, runs // 5))
        ]
        found[f"reference of {count}"] = {
            "false_alarms_scores": sum(same) / runs,
            "false_alarms_disagreements": sum(one.shown for one in steady) / runs,
            "delay_square_root_of_scores": _delay(moved),
            "delay_disagreements_doubled": _delay(risen),
        }
    return found


def _delay(found: list[Any]) -> float | None:
    """The median index of the first alarm, if most runs have one."""
    delays = sorted(one.alarm if one.alarm is not None else np.inf for one in found)
    middle = statistics.median(delays)
    return None if np.isinf(middle) else float(middle)


def times_ms(images: int) -> dict[str, float]:
    """How long each function takes on the reference stream."""
    sample = stream(np.random.default_rng(7), images)
    minutes = np.arange(images) * 30 * 24 * 60 // images
    times = np.datetime64("2026-01-01T00:00:00", "s") + minutes.astype("timedelta64[m]")
    sources = np.full(images, "api", object)
    population = Population(sample, np.arange(images), times, sample.scores, times, 0, sources)
    calls: dict[str, Callable[[], object]] = {
        "certify_threshold": lambda: _certified(sample),
        "certify_threshold, 99 candidates": lambda: certify_threshold(
            sample, recall=RECALL, confidence=CONFIDENCE
        ),
        "recall_bounds, 99 thresholds": lambda: recall_bounds(
            sample, confidence=CONFIDENCE, thresholds=HUNDREDTHS
        ),
        "estimate": lambda: estimate(sample, threshold=0.5),
        "summarize": lambda: summarize(population, Policy(0.5, 0.2, 0.8), AuditPlan(0.05)),
    }
    found = {}
    for name, call in calls.items():
        call()
        repeats = 3 if images > 200_000 else 7
        seconds = []
        for _ in range(repeats):
            start = time.process_time()
            call()
            seconds.append(time.process_time() - start)
        found[name] = round(1_000 * statistics.median(seconds), 1)
    return found


def _certified(
    sample: Sample, *, recall: float = RECALL, candidates: NDArray[Any] = CANDIDATES
) -> float | None:
    certificate = certify_threshold(
        sample, recall=recall, confidence=CONFIDENCE, candidates=candidates
    )
    return certificate.threshold


if __name__ == "__main__":
    main()
