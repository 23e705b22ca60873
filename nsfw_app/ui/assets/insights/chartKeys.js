// The series of each chart: name, color and line. Those of one chart differ by their lines, too, and
// by colors that every color vision distinguishes (`tests/js/chartColors.test.js`).

/** @typedef {'solid' | 'dashed' | 'dotted' | 'filled' | 'outlined' | 'band'} Line */
/** @typedef {{ name: string, token: string, line: Line }} Key */

/** @satisfies {Record<string, Key[]>} */
export const KEYS = {
  rates: [
    { name: 'Recall, with 95 % interval', token: 'accent', line: 'solid' },
    { name: 'Certified recall', token: 'certified', line: 'dotted' },
    { name: 'Precision, with 95 % interval', token: 'block', line: 'dashed' },
  ],
  reviews: [
    { name: 'Mean', token: 'accent', line: 'solid' },
    { name: '95 % of days', token: 'accent', line: 'band' },
  ],
  histogram: [
    { name: 'Unsafe, estimated', token: 'block', line: 'filled' },
    { name: 'Safe, estimated', token: 'ink', line: 'outlined' },
  ],
  reliability: [
    { name: 'Score', token: 'block', line: 'dashed' },
    { name: 'Calibrated', token: 'accent', line: 'solid' },
    { name: 'Ideal', token: 'muted', line: 'dotted' },
  ],
  scores: [
    { name: 'Latest 7 days', token: 'accent', line: 'filled' },
    { name: 'Reference', token: 'ink', line: 'outlined' },
  ],
}
