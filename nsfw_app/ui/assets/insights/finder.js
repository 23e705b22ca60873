// The threshold finder without its page: what is certified at three numbers, and its sentences.

/** @typedef {{ value: number | null, lower: number, upper: number, reviews: number }} Interval */

/**
 * @typedef {object} Curve One entry per hundredth of the score, from 0; `images` and `audits` are
 *   counts between two of them.
 * @property {number[]} thresholds
 * @property {Interval[]} recall
 * @property {Interval[]} precision
 * @property {number[]} bounds Lower confidence bounds of the recall, valid at any time.
 * @property {number[]} images
 * @property {number[]} audits
 */

/** @typedef {{ review_from: number, threshold: number, review_to: number }} Numbers */
/** @typedef {keyof Numbers} Handle */

/**
 * @typedef {object} Targets
 * @property {number} recall At least.
 * @property {number | null} precision At least, also at the lower end of its range; null for none.
 * @property {number | null} reviews A day, at most; null for none.
 */

/**
 * @typedef {object} Evidence The part of the summary that the finder uses.
 * @property {string} model
 * @property {Curve} curve
 * @property {Numbers} policy
 * @property {number | null} days
 * @property {number | null} days_selected
 * @property {number | null} [dispersion] Variance over mean of the images of a day; null if unknown.
 * @property {string | null} [source] The only one that the numbers are of; null for all.
 * @property {string[]} [alarms] Why the evidence no longer holds.
 * @property {number} images
 * @property {number} reviews
 * @property {number} [bounds_reviews] Those of `bounds`, where these are not of the period.
 * @property {number} bound_confidence
 * @property {Record<string, number | null>} more_reviews
 * @property {{ images: number, prevalence: Interval }} allowed
 */

/**
 * @typedef {object} Assessment
 * @property {number | null} certified The highest threshold that is certified.
 * @property {boolean} holds Whether `review_from` is certified.
 * @property {Forecast | null} more If no threshold is certified.
 * @property {Interval} recall Of what people or the block see: at `review_from`.
 * @property {Interval} precision At the threshold.
 * @property {number | null} missed Expected number of unsafe images that are allowed.
 * @property {number | null} reviewsADay
 * @property {Range | null} reviewsOfDays Of 95 % of days.
 */

/** @typedef {{ lower: number, upper: number }} Range */
/** @typedef {{ target: number, reviews: number }} Forecast Of reviews that certify a recall. */

const EPSILON = 1e-9 // the hundredths are not exact
const STEPS = 100
const NORMAL = 1.96 // standard deviations to each side, for 95 %

/**
 * The index of a threshold in the curve; the next one above it where it lies between two.
 *
 * @param {number} threshold
 */
export const indexOf = (threshold) =>
  Math.max(0, Math.min(STEPS, Math.ceil(threshold * STEPS - EPSILON)))

/**
 * The index of the highest threshold that is certified for a recall; null for none. Index 0 flags
 * everything and needs no certificate.
 *
 * @param {number[]} bounds
 * @param {number} recall
 */
export function certifiedIndex(bounds, recall) {
  let index = 0
  while (index + 1 < bounds.length && bounds[index + 1] >= recall) index += 1
  return index || null
}

/**
 * Images that people review in a day: all in the band, and the audits outside of it.
 *
 * @param {Curve} curve
 * @param {number | null} days
 * @param {{ review_from: number, review_to: number }} band
 */
export function reviewsADay({ images, audits }, days, { review_from: from, review_to: to }) {
  if (!days) return null
  let reviews = 0
  for (let cell = 0; cell < images.length; cell += 1) {
    const low = Math.max(from * STEPS, cell)
    const high = Math.min(to * STEPS, cell + 1)
    const inside = Math.max(0, high - low)
    reviews += inside * images[cell] + (1 - inside) * audits[cell]
  }
  return reviews / days
}

/**
 * Between which numbers the reviews of 95 % of days are expected. Reviews are a share of the images
 * of a day, so that they vary as these do, and by chance. Without a dispersion images count as
 * independent of each other (Poisson).
 *
 * Source: Wilson and Hilferty (1931), for the quantiles of a gamma distribution.
 *
 * @param {Pick<Evidence, 'curve' | 'days' | 'dispersion'>} evidence
 * @param {{ review_from: number, review_to: number }} band
 * @returns {Range | null}
 */
export function reviewsOfDays({ curve, days, dispersion }, band) {
  const mean = reviewsADay(curve, days, band)
  if (mean === null || !days) return null
  if (!mean) return { lower: 0, upper: 0 }
  const share = (mean * days) / curve.images.reduce((sum, count) => sum + count, 0)
  const variance = mean * Math.max(0, 1 + share * ((dispersion ?? 1) - 1))
  const ninth = variance / (9 * mean ** 2)
  const limit = (/** @type {number} */ deviations) =>
    mean * Math.max(0, 1 - ninth + deviations * Math.sqrt(ninth)) ** 3
  return { lower: limit(-NORMAL), upper: limit(NORMAL) }
}

/**
 * About how many more reviews certify a recall: the forecast for it, for the next higher target that
 * has one, or else for the next lower one.
 *
 * @param {Record<string, number | null>} forecasts By recall.
 * @param {number} recall
 * @returns {Forecast | null}
 */
export function moreReviews(forecasts, recall) {
  const known = Object.entries(forecasts)
    .flatMap(([target, reviews]) => (reviews === null ? [] : [{ target: Number(target), reviews }]))
    .sort((a, b) => a.target - b.target)
  return known.find(({ target }) => target >= recall - EPSILON) ?? known.at(-1) ?? null
}

/**
 * What the evidence says at three numbers.
 *
 * @param {Evidence} evidence
 * @param {Numbers} numbers
 * @param {Targets} targets
 * @returns {Assessment}
 */
export function assess(evidence, numbers, targets) {
  const { curve, days, allowed, more_reviews: forecasts } = evidence
  const index = certifiedIndex(curve.bounds, targets.recall)
  const at = indexOf(numbers.review_from)
  const recall = curve.recall[at]
  const prevalence = allowed.prevalence.value
  return {
    certified: index === null ? null : curve.thresholds[index],
    holds: at === 0 || (index !== null && at <= index),
    more: index === null ? moreReviews(forecasts, targets.recall) : null,
    recall,
    precision: curve.precision[indexOf(numbers.threshold)],
    missed:
      prevalence === null || recall.value === null
        ? null
        : allowed.images * prevalence * (1 - recall.value),
    reviewsADay: reviewsADay(curve, days, numbers),
    reviewsOfDays: reviewsOfDays(evidence, numbers),
  }
}

/**
 * The numbers after one of them was moved; it pushes those that would be out of order.
 *
 * @param {Numbers} numbers
 * @param {Handle} handle
 * @param {number} value
 * @returns {Numbers}
 */
export function moved(numbers, handle, value) {
  const { review_from: from, threshold, review_to: to } = numbers
  if (handle === 'review_from')
    return {
      review_from: value,
      threshold: Math.max(threshold, value),
      review_to: Math.max(to, value),
    }
  if (handle === 'review_to')
    return {
      review_from: Math.min(from, value),
      threshold: Math.min(threshold, value),
      review_to: value,
    }
  return { review_from: Math.min(from, value), threshold: value, review_to: Math.max(to, value) }
}

/**
 * The number within reach of a value on the axis; null for none. Where several are as near, the one
 * that can be moved to that side.
 *
 * @param {Numbers} numbers
 * @param {number} value
 * @param {number} reach
 * @returns {Handle | null}
 */
export function nearestHandle(numbers, value, reach) {
  /** @type {Handle[]} */
  const order = ['review_from', 'threshold', 'review_to']
  const least = Math.min(...order.map((name) => Math.abs(numbers[name] - value)))
  if (least > reach) return null
  const nearest = order.filter((name) => Math.abs(numbers[name] - value) < least + EPSILON)
  return (value > numbers[nearest[0]] ? nearest.at(-1) : nearest[0]) ?? null
}

/**
 * What is certified, as a sentence.
 *
 * @param {Evidence} evidence
 * @param {Numbers} numbers
 * @param {Targets} targets
 * @param {Assessment} found
 */
export function certificateSentence(evidence, numbers, targets, { certified, holds, more }) {
  const recall = `ecall of at least ${percent(targets.recall)}`
  const confidence = `${percent(evidence.bound_confidence)} confidence`
  if (certified !== null) {
    const words = `R${recall} is certified up to ${certified.toFixed(2)} with ${confidence}`
    if (holds) return `${words}.`
    const from = numbers.review_from.toFixed(2)
    return `${words}, but not at ${from}: images below ${from} would be allowed.`
  }
  const reviewed = reviewsOf(evidence)
  if (!reviewed) return 'Not yet: no image that was drawn for review has a settled label.'
  const none = `Not yet: the ${whole(reviewed)} sampled reviews so far do not show a r${recall}.`
  return more === null ? none : forecastSentence(more, targets.recall, none)
}

/**
 * The forecast, with the target that it is for where that is another one.
 *
 * @param {Forecast} forecast
 * @param {number} recall The target that is set.
 * @param {string} none The sentence if nothing is forecast for it.
 */
function forecastSentence({ target, reviews }, recall, none) {
  const count = whole(roundedUp(reviews))
  const words = `bout ${count} more sampled ${reviews === 1 ? 'review certifies' : 'reviews certify'} a recall of at least ${percent(target)}`
  const like = 'if they are like those so far'
  if (target < recall - EPSILON)
    return `${none} A${words}, the nearest target with a forecast, ${like}.`
  const sentence = `Not yet: a${words}, ${like}.`
  return target > recall + EPSILON
    ? `${sentence} That is the nearest target with a forecast; ${percent(recall)} takes fewer.`
    : sentence
}

/**
 * The result as sentences: certificate, missed images, reviews a day, precision.
 *
 * @param {Evidence} evidence
 * @param {Numbers} numbers
 * @param {Targets} targets
 * @returns {string[]}
 */
export function resultSentences(evidence, numbers, targets) {
  const found = assess(evidence, numbers, targets)
  const sentences = [
    certificateSentence(evidence, numbers, targets, found),
    ...contradictions(found, targets),
  ]
  if (found.certified !== null) sentences.push(basisSentence(evidence))
  if (found.missed !== null)
    sentences.push(
      `About ${whole(found.missed)} unsafe images of ${whole(evidence.allowed.images)} are allowed: estimated recall ${rate(found.recall)}, from ${whole(found.recall.reviews)} reviewed unsafe images.`,
    )
  if (found.reviewsADay !== null) {
    const over = targets.reviews !== null && found.reviewsADay > targets.reviews
    const limit = over ? `, more than the target of ${decimal(targets.reviews ?? 0)}` : ''
    sentences.push(`About ${decimal(found.reviewsADay)} reviews a day${limit}${range(found)}.`)
  }
  if (found.precision.value !== null) {
    const { precision } = targets
    const under = precision !== null && found.precision.lower < precision
    const limit = under ? `; its lower end is below the target of ${percent(precision)}` : ''
    sentences.push(
      `Precision at the threshold ${rate(found.precision)}, from ${whole(found.precision.reviews)} reviews${limit}.`,
    )
  }
  return sentences
}

/** @param {Assessment} found */
const range = ({ reviewsOfDays: days }) =>
  days ? `; on 95 % of days ${whole(days.lower)} to ${whole(days.upper)}` : ''

/**
 * That the period has a lower recall than the certificate says, as a sentence; none if it has not.
 *
 * @param {Assessment} found
 * @param {Targets} targets
 */
const contradictions = ({ holds, recall }, targets) =>
  holds && recall.value !== null && recall.upper < targets.recall
    ? [
        `The certificate is of all periods, and the estimated recall of this one is lower: ${rate(recall)}.`,
      ]
    : []

/**
 * Why numbers should not be used without a second look, as sentences: no certificate, an alarm, an
 * estimate that contradicts the certificate, one source only, a threshold that no score reaches.
 *
 * @param {Evidence} evidence
 * @param {Numbers} numbers
 * @param {Targets} targets
 * @returns {string[]}
 */
export function doubts(evidence, numbers, targets) {
  const found = assess(evidence, numbers, targets)
  const sentences = found.holds
    ? contradictions(found, targets)
    : [certificateSentence(evidence, numbers, targets, found)]
  if (evidence.source)
    sentences.push(
      `These numbers are of images from ${evidence.source} only; the policy is for all sources.`,
    )
  if (numbers.threshold >= 1)
    sentences.push('With a threshold of 1.00, images with lower scores are never labeled nsfw.')
  return [...sentences, ...(evidence.alarms ?? [])]
}

/**
 * The reason that is stored with a policy: what the evidence for it is.
 *
 * @param {Evidence} evidence
 * @param {Numbers} numbers
 * @param {Targets} targets
 */
export function reasonOf(evidence, numbers, targets) {
  const { certified, holds, recall, reviewsADay: work } = assess(evidence, numbers, targets)
  const { days_selected: days } = evidence
  const target = `Recall of at least ${percent(targets.recall)}`
  const basis = `from ${whole(reviewsOf(evidence))} sampled reviews`
  const claim =
    holds && certified !== null
      ? `${target} certified up to ${certified.toFixed(2)} with ${percent(evidence.bound_confidence)} confidence, ${basis}`
      : `${target} not certified, ${basis}`
  const period = days === null ? '' : ` in the last ${days === 1 ? 'day' : `${days} days`}`
  const estimated = `estimated ${rate(recall)}${period}, from ${whole(recall.reviews)} reviewed unsafe images`
  const parts = [claim, estimated]
  if (work !== null) parts.push(`about ${decimal(work)} reviews a day`)
  if (evidence.source) parts.push(`images from ${evidence.source} only`)
  if (evidence.alarms?.length) parts.push('saved while an alarm was raised')
  return `${parts.join('; ')}.`
}

/**
 * What the certificate is from.
 *
 * @param {Evidence} evidence
 */
function basisSentence(evidence) {
  const period =
    evidence.bounds_reviews === undefined ? '' : ' of this model and source, in all periods'
  return `The certificate is from ${whole(reviewsOf(evidence))} sampled reviews${period}.`
}

/** @param {Evidence} evidence */
const reviewsOf = ({ reviews, bounds_reviews: all }) => all ?? reviews

/** @param {Interval} interval */
export function rate({ value, lower, upper }) {
  if (value === null) return 'unknown'
  const [low, high] = [lower, upper].map((limit) => (100 * limit).toFixed(1))
  return `${(100 * value).toFixed(1)} % (${low} to ${high})`
}

/** As many decimals as it takes not to call less than all 100 %. @param {number} share */
export function percent(share) {
  let decimals = 1
  while (share < 1 && decimals < 9 && Number((100 * share).toFixed(decimals)) === 100) decimals++
  return `${Number((100 * share).toFixed(decimals))} %`
}

/** @param {number} count */
export const whole = (count) => Math.round(count).toLocaleString('en-US')

/** @param {number} count */
export const decimal = (count) =>
  count < 10 ? String(Number(count.toFixed(1))) : Math.round(count).toLocaleString('en-US')

/**
 * Two significant digits: a forecast has no more.
 *
 * @param {number} count
 */
function roundedUp(count) {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(count)) - 1)
  return Math.ceil(count / unit) * unit
}
