import type { Agreement, Pair } from './reviewerAgreement.js'

export type Category =
  | 'sexual_explicit'
  | 'sexual_suggestive'
  | 'nudity'
  | 'drawing'
  | 'gore_or_violence'
  | 'self_harm'
  | 'other'

export type IntervalShare = { part: number; whole: number; interval: [number, number] | null }

export type CategoryComparison = {
  threshold: number
  action: 'review' | 'block'
  judged: number
  confusion: {
    true_positives: number
    false_positives: number
    true_negatives: number
    false_negatives: number
  }
  precision: IntervalShare
  recall: IntervalShare
}

export type CategoryRecord = {
  category: Category
  named: IntervalShare
  alpha: Agreement
  pairs: Pair[]
  all_pairs: number
  comparison: CategoryComparison | null
}

export type CategoryAgreement = {
  decisions: number
  not_asked: number
  images: number
  categories: CategoryRecord[]
}
