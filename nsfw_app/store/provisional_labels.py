"""Labels of images that have decisions of reviewers and no settled label.

- It is that of most standing decisions and, at a tie, the one that the model does not give: an
  image that reviewers differ about counts as an error of the model until it is settled.
- Unsure decisions and imported labels do not count.
"""

from nsfw_app.records import Label
from nsfw_app.store.label_imports import IMPORTED

# Which standing decisions `s` count.
COUNTED = f"s.label <> '{Label.UNSURE}' and not {IMPORTED.format(row='s')}"
# The label that standing decisions `s` have together.
MAJORITY = f"""
case when 2 * sum(s.label = '{Label.NSFW}') + ({{model_label}} <> '{Label.NSFW}') > count(*)
  then '{Label.NSFW}' else '{Label.NORMAL}' end
"""
