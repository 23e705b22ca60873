// The Model tab: sections about model and policy, and the program's version.

/** @import { Section } from './definitionList.js' */

import { makeAlarmNotice } from '../insights/alarmNotice.js'
import { status } from '../shared/server.js'
import { definitionList } from './definitionList.js'

/**
 * Draws the component's value now and whenever it changes.
 *
 * @param {HTMLElement} root
 * @param {{ props: { value: Section[] | null }, watch: (name: string, listener: () => void) => void }} component
 */
export function mount(root, { props, watch }) {
  const alarm = makeAlarmNotice()
  const draw = () => {
    const sections = (props.value || []).map(definitionList)
    if (sections.length && status.value) {
      sections.push(definitionList({ title: 'Program', rows: [['Version', status.value.version]] }))
    }
    root.replaceChildren(alarm.element, ...sections)
  }
  watch('value', draw)
  status.subscribe(draw)
  draw()
  alarm.watch(root)
}
