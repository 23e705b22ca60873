"""`GET /v1/insights`: what the decisions prove about a model, as the Insights tab shows it."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from nsfw_app.evidence.alarms import model_alarms, other_running
from nsfw_app.evidence.summaries import EvidenceQuery, Summaries
from nsfw_app.records import Action, Category
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.auth.callers import needs
from nsfw_app.web.http.errors import responses
from nsfw_app.web.parameters import EvidenceSelection, single_values

WAIT_S = 10  # for numbers that are not older than a minute; a million images take about 4 s


class Body(BaseModel):
    """A part of the response, with exactly these keys."""

    model_config = ConfigDict(extra="forbid")


class IntervalBody(Body):
    """A number, its confidence interval, and how many reviews it is computed from."""

    value: float | None
    lower: float
    upper: float
    reviews: int


class EstimatesBody(Body):
    """What a threshold does to the images that arrived."""

    threshold: float
    confidence: float
    recall: IntervalBody
    precision: IntervalBody
    prevalence: IntervalBody
    false_positive_rate: IntervalBody
    missed: IntervalBody
    flagged: IntervalBody
    images: int
    unsettled: int
    hardly_settled: int


class ConfusionBody(Body):
    """Settled labels of sampled images by the model's label at the threshold, unweighted."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int


class CategoryRuleBody(Body):
    """The action from a probability of a category upwards."""

    category: Category
    threshold: float
    action: Action


class PolicyBody(Body):
    """The policy in force."""

    threshold: float
    review_from: float
    review_to: float
    version: int
    author: str
    reason: str
    category_rules: list[CategoryRuleBody]
    overrules_allow: bool = Field(description="Whether rules change what the score allows.")


class CurveBody(Body):
    """One entry per hundredth of the threshold; `bounds` are valid at any time."""

    thresholds: list[float]
    recall: list[IntervalBody]
    precision: list[IntervalBody]
    bounds: list[float]
    images: list[int]
    audits: list[float]


NoForecastWord = Literal["certified", "not_shown", "no_reviews"]


class CertificateBody(Body):
    """The certificate for one recall, of all images of the model and source."""

    threshold: float | None = Field(description="The highest certified; null for none.")
    recall_lower: float | None = Field(description="Lower bound of the recall there.")
    more_reviews: int | None = Field(description="About how many more certify a threshold.")
    recall: float = Field(description="The target.")
    confidence: float
    reviews: int
    unsettled: int = Field(description="Drawn, without a settled label: the worst case.")
    no_forecast: NoForecastWord | None = Field(description="Why `more_reviews` is null.")
    covers_policy: bool
    coverage: str = Field(description="Whether it covers the policy in force, or why not.")


class HistogramBody(Body):
    """Estimated numbers of images by tenths of the score."""

    unsafe: list[float]
    safe: list[float]
    reviews: list[int]


class MeasureBody(Body):
    """A measure of the raw scores and of the calibrated probabilities."""

    raw: IntervalBody
    calibrated: IntervalBody


class CalibrationBody(Body):
    """A calibration of these reviews; `probabilities` are those of the scores 0, 0.01, ... 1."""

    method: Literal["none", "platt", "beta", "isotonic"]
    reviews: int
    probabilities: list[float]
    brier: MeasureBody
    log_loss: MeasureBody
    ece: MeasureBody


class ReliabilityBody(Body):
    """Images whose probability is in a tenth: its mean, and the share that is unsafe."""

    probability: float
    unsafe: IntervalBody


class ErrorGroupBody(Body):
    """Images of a source or a day, and the shares that the model labels wrongly."""

    name: str
    images: int
    reviews: int
    wrong: IntervalBody
    false_negatives: IntervalBody
    false_positives: IntervalBody


class ReasonErrorsBody(Body):
    """Wrongly labeled images with a reason: `found` in the sample, `images` estimated of all."""

    name: str = Field(description="The reason code; empty for none.")
    found: int
    images: IntervalBody


class ErrorsBody(Body):
    """Wrong labels at the threshold, estimated from sampled reviews."""

    threshold: float
    reasons: list[ReasonErrorsBody]
    sources: list[ErrorGroupBody]
    days: list[ErrorGroupBody] = Field(description="Days of arrival, in UTC.")


class GroupCountBody(Body):
    """Decisions, and those that differ from the model's label when they were made."""

    name: str
    decisions: int
    false_negatives: int
    false_positives: int
    unsure: int


class DecisionCountsBody(Body):
    """Standing decisions of the period, unweighted, also those that people chose to make."""

    total: GroupCountBody
    reasons: list[GroupCountBody]
    sources: list[GroupCountBody]
    days: list[GroupCountBody] = Field(description="Days of decision, in UTC.")
    waiting: int = Field(description="Left out, of all periods: the image waits for another one.")


class DriftBody(Body):
    """Recent images compared with a reference; `alarm` is null where no change is shown."""

    alarm: int | None
    evidence: float
    reference: int
    recent: int
    compared: bool


class WeeklyRateBody(Body):
    """How often settled labels differ from the model's, of the images of a week; its Monday."""

    start: str
    disagreements: IntervalBody


class AcceptedBody(Body):
    """All images until a time, accepted as the reference."""

    at: str
    author: str
    reason: str


class ComparisonBody(Body):
    """The latest seven days and the reference, by twentieths of the score; disagreements by week.

    Disagreements are those of scores from `certain_from` to `certain_to`, which are reviewed whole.
    """

    reference_until: str | None
    reference_scores: list[int]
    week_start: str | None
    week_scores: list[int]
    weeks: list[WeeklyRateBody]
    certain_from: float
    certain_to: float
    accepted: AcceptedBody | None


class InsightsBody(Body):
    """The evidence of a period. Shares are in [0, 1], times are ISO 8601 in UTC."""

    headline: str
    alarms: list[str]
    warnings: list[str]
    computed_at: str
    outdated: bool
    model: str
    revision: str
    weights_sha256: str
    days_selected: int | None
    source: str | None
    confidence: float
    bound_confidence: float
    policy: PolicyBody
    images: int
    never_drawn: int
    reviews: int
    unsettled: int
    days: float | None
    allowed: EstimatesBody
    labeled: EstimatesBody
    labeled_reviews: ConfusionBody
    curve: CurveBody
    certificate: CertificateBody
    more_reviews: dict[str, int | None] = Field(description="By target of the recall.")
    no_forecast: dict[str, NoForecastWord | None] = Field(
        description="Why `more_reviews` is null, by target of the recall."
    )
    histogram: HistogramBody
    calibration: CalibrationBody | None
    reliability: list[ReliabilityBody]
    reliability_calibrated: list[ReliabilityBody]
    errors: ErrorsBody
    decisions: DecisionCountsBody
    drift: DriftBody
    disagreement_drift: DriftBody
    comparison: ComparisonBody
    bounds_images: int = Field(description="Of all periods; bounds and drift are of them.")
    bounds_reviews: int
    dispersion: float | None = Field(
        description="Variance over mean of the images of a day; null for fewer than 7 whole days."
    )
    provisional: int = Field(
        description="Of `reviews`: not settled, counted with the label of most decisions."
    )


def insight_routes(engine: Engine, summaries: Summaries) -> APIRouter:
    """`GET /insights`."""
    router = APIRouter(tags=["export"])

    @router.get(
        "/insights",
        response_model=InsightsBody,
        responses=responses(400, 401, 403, 404, 422, 429),
        dependencies=[Depends(single_values)],
    )
    def insights(
        _: Annotated[Caller, Depends(needs(Permission.EXPORT))],
        query: Annotated[EvidenceSelection, Query()],
    ) -> dict[str, Any]:
        """Estimates, certificate, calibration and drift, from the reviews drawn at random."""
        from nsfw_app.evidence.summary_json import summary_json  # slow to import

        classifier = engine.status.classifier
        loaded = classifier.identity if classifier else None
        identity = summaries.identity(query.model, loaded=loaded)
        summaries.check_source(query.source)
        wanted = EvidenceQuery(identity, query.days, query.source)
        return summary_json(
            summaries.get(wanted, wait_s=WAIT_S),
            wanted,
            model_alarms=model_alarms(summaries, loaded),
            running=other_running(summaries, identity, loaded),
        )

    return router
