"""SQL that selects the rows of the correction log that a filter leaves."""

import re
from typing import Any

from nsfw_app.records import LogFilter
from nsfw_app.store.blind_review import DECISION_VISIBLE

PARAMETER = re.compile(r":(\w+)")
LIKE_CHARACTER, LIKE_ESCAPED = re.compile(r"[\\%_]"), r"\\\g<0>"
OF_HASH = """
select id from predictions where image_sha256 < :sha256 || 'g' and image_sha256 >= :sha256
"""
MIDNIGHT = "T00:00:00.000Z"


class LogQuery:
    """SQL for the rows of a filter, by way of the groups that they belong to.

    All rows of a group have the same reviewer, model, labels and audience; the groups are few.
    Dates narrow the ids to those of the days, and are compared row by row within these. Reason,
    category, search and hash are compared row by row.
    """

    def __init__(self, wanted: LogFilter) -> None:
        clauses = {
            "g.reviewer = :reviewer": wanted.reviewer,
            "g.label = :label": wanted.label,
            "g.agrees = :agrees": wanted.agrees,
            "g.model = :model": wanted.model,
            "g.undone = :undone": wanted.undone,
            DECISION_VISIBLE: wanted.blind_to,
        }
        dates = {
            "d.decided_at >= :since": wanted.since,
            "d.decided_at < :until": wanted.until,
        }
        texts = {
            "d.reasons like :reason": wanted.reason and f'%"{wanted.reason}"%',
            "d.categories like :category": wanted.category and f'%"{wanted.category}"%',
            "(d.name like :search escape '\\' or d.note like :search escape '\\')": (
                wanted.search and f"%{LIKE_CHARACTER.sub(LIKE_ESCAPED, wanted.search)}%"
            ),
            f"d.prediction_id in ({OF_HASH})": wanted.sha256,
        }
        used = {
            clause: value
            for clause, value in (clauses | dates | texts).items()
            if value is not None
        }
        self.values: dict[str, Any] = {
            PARAMETER.findall(clause)[-1]: value for clause, value in used.items()
        }
        self._groups = " and ".join(["g.entries > 0", *(c for c in used if c in clauses)])
        self._dates = [clause for clause in used if clause in dates]
        self._texts = [clause for clause in used if clause in texts]
        self._by_hash = wanted.sha256 is not None
        days = ["true"]
        if wanted.since is not None:
            days.append("day >= substr(:since, 1, 10)")
        if wanted.until is not None:
            days.append("day <= substr(:until, 1, 10)")
        self._days = " and ".join(days)

    @property
    def page_sql(self) -> str:
        """A page: the first rows of each group, and of these the first of all."""
        rows = f"""
            select i.decision_id from log_rows i
            where i.group_id = g.id and i.decision_id < :before
              {self._in_days("i")}{_matching("i", self._dates)}
            order by i.decision_id desc
        """
        return f"""
            select l.* from correction_log l where l.decision_id in (
              select r.decision_id from (
                select g.id from log_groups g where {self._groups}
                order by ({rows} limit 1) desc nulls last limit :limit
              ) g
              join log_rows r on r.decision_id in ({rows} limit :limit)
              order by r.decision_id desc limit :limit
            )
            order by l.decision_id desc
        """

    @property
    def scan_sql(self) -> str:
        """The next rows of the log, older than `before`; `+` keeps the order of the ids."""
        return f"""
            select l.* from log_rows r cross join correction_log l on l.decision_id = r.decision_id
            where r.decision_id < :before{self._in_days("r")}
              {_matching("r", [*self._dates, *self._texts])}
              and +r.group_id in (select g.id from log_groups g where {self._groups})
            order by r.decision_id desc limit :limit
        """

    @property
    def search_sql(self) -> str:
        """The next rows among those that are read."""
        return f"""
            select l.* from correction_log l where l.decision_id in (
              select r.decision_id from ({self._read_sql}) r
              where r.group_id in (select g.id from log_groups g where {self._groups})
                {_matching("r", [*self._dates, *self._texts])}
              order by r.decision_id desc limit :limit
            )
            order by l.decision_id desc
        """

    @property
    def search_cursor_sql(self) -> str:
        """The cursor of a search: the last row that is read, and how many are."""
        return f"select min(r.decision_id), count(*) from ({self._read_sql}) r"

    @property
    def _read_sql(self) -> str:
        """The rows that a search reads: those of a hash by its index, or else the next ones."""
        rows = "log_rows r"
        if self._by_hash:
            rows = f"""
                ({OF_HASH}) p cross join decisions d on d.prediction_id = p.id
                cross join log_rows r on r.decision_id = d.id
            """
        return f"""
            select r.decision_id, r.group_id from {rows}
            where r.decision_id < :before{self._in_days("r")}
            order by r.decision_id desc limit :searched
        """

    @property
    def size_sql(self) -> str:
        """How many rows there are.

        Whole days come from the stored tallies; only days that `since` or `until` splits are
        counted row by row.
        """
        if not self._dates:
            return f"select coalesce(sum(g.entries), 0) from log_groups g where {self._groups}"
        whole = []
        if "since" in self.values:
            whole.append(f"day || '{MIDNIGHT}' >= :since")
        if "until" in self.values:
            whole.append("day < substr(:until, 1, 10)")
        inside = " and ".join(whole)
        return f"""
            select (
              select coalesce(sum(t.entries), 0) from log_tallies t
              join log_groups g on g.id = t.group_id where {self._groups} and {inside}
            ) + (
              select count(*) from log_days cut join decisions d
                on d.id between cut.first_id and cut.last_id
                  and substr(d.decided_at, 1, 10) = cut.day
              join log_rows r on r.decision_id = d.id join log_groups g on g.id = r.group_id
              where cut.day in (select day from log_days where {self._days} and not ({inside}))
                and {self._groups} and {" and ".join(self._dates)}
            )
        """

    def distinct_sql(self, column: str) -> str:
        """The values of a column of the groups."""
        used = ""
        if self._dates:
            used = f"""and exists (
              select 1 from log_rows i
              where i.group_id = g.id{self._in_days("i")}{_matching("i", self._dates)}
            )"""
        return f"""
            select distinct g.{column} from log_groups g where {self._groups} {used} order by 1
        """

    def _in_days(self, row: str) -> str:
        if not self._dates:
            return ""
        return f"""
            and {row}.decision_id >= (select min(first_id) from log_days where {self._days})
            and {row}.decision_id <= (select max(last_id) from log_days where {self._days})
        """


def _matching(row: str, conditions: list[str]) -> str:
    """The condition that a row's decision, `d`, meets others."""
    if not conditions:
        return ""
    return f"""
        and exists (
          select 1 from decisions d
          where d.id = {row}.decision_id and {" and ".join(conditions)}
        )
    """
