// Waits for the fields of the policy form. The form itself and its save handler are in ui/policy_form.py.

// Those of the rules of categories are rendered when their part of the form is opened.
const FIELDS = '#policy-form :is(input[type=number], textarea):not(#policy-rules *)'
const FIELD_COUNT = 4
const MAX_FRAMES = 600

/**
 * Resolves once Gradio has rendered the form's fields. Gradio sets the value of a field that is not
 * rendered yet a second time, after rendering it, which would overwrite what was typed in between.
 */
export async function fieldsRendered() {
  for (let frame = 0; frame < MAX_FRAMES; frame += 1) {
    if (document.querySelectorAll(FIELDS).length === FIELD_COUNT) return
    await new Promise(requestAnimationFrame)
  }
}
