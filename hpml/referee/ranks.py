"""Exercises on several ranks: are they right, do they keep to their budgets, how well do they scale? What answers.py and timing.py do
with one worker, this does with a world of them (worlds.py)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from hpml import theme
from hpml.exercise import Case, Exercise, Size, on_rank
from hpml.referee import arrays, compare, crew, timing
from hpml.referee import cells as text
from hpml.referee.answers import PUBLIC_SEED, Answers, Finding
from hpml.referee.compare import Memory, Problem, Tampered
from hpml.referee.crew import Crew
from hpml.referee.oracle import OracleError
from hpml.referee.others import Others
from hpml.referee.protocol import TimedOut
from hpml.referee.simulated import Stuck
from hpml.referee.timing import Expect, Failed, Rejected, Series
from hpml.referee.worlds import OnRank, Unfinished, World
from hpml.verdict import Outcome, Verdict

TROUBLE = (OnRank, Stuck, Unfinished, MemoryError)


@dataclass
class RankSeries:
    """Calls of one function on all ranks of a world, of one size. To `timing.pairs` it is like a Series of one worker."""

    worker: World
    exercise: Exercise
    name: str
    size: Size
    rng: np.random.Generator
    expect: Expect
    wanted: list[Any] = field(default_factory=list)         # what each rank should have returned from the last call

    @property
    def waiting(self) -> float:
        return self.worker.waiting

    def fresh(self) -> tuple[Any, ...]:
        return self.exercise.sample(self.rng, self.size)

    def checked(self, inputs: tuple[Any, ...]) -> list[Any]:
        """One call, every rank's output verified: the values. Raises Rejected, OnRank, Stuck, Unfinished."""
        said = self.worker.call(self.exercise, self.size, inputs)
        try:
            return self.verify(inputs, said)
        finally:
            self.worker.release()

    def verify(self, inputs: tuple[Any, ...], said: list[Any]) -> list[Any]:
        expected = self.expect([inputs])[0]
        wanted = self.wanted = [on_rank(expected, rank) for rank in range(self.worker.size)]
        values, problems = [], {}
        for rank, one in enumerate(said):
            with World.blaming(rank):
                value, problem = self._accept(rank, self.worker.rows(inputs)[rank], one, wanted[rank])
            values.append(problem.got if value is None and problem else value)
            if problem:
                problems[rank] = problem
        if problems:
            first = problems[min(problems)]
            got = values if all(v is not None for v in values) else None
            raise Rejected(Problem(_where(sorted(problems), self.worker.size) + first.message, got), inputs, wanted)
        return values

    def _accept(self, rank: int, row: tuple[Any, ...], said: Any, expected: Any) -> tuple[Any, Problem | None]:
        """What answers.py asks of one worker's result, of one rank's."""
        worker, specs = self.worker.workers[rank], arrays.layout([row])[0][0]
        own = [(spec["offset"], a) for spec, a in zip(specs, row, strict=True) if isinstance(a, np.ndarray)]
        for offset, a in own:
            if not np.array_equal(worker.arena[offset: offset + a.nbytes], np.ascontiguousarray(a).reshape(-1).view(np.uint8)):
                return None, Problem(f"`{self.name}` changes its argument; leave the inputs as they are and work on a copy.")
        return compare.accept(said, expected, dict(self.exercise.tolerance), Memory(worker.base, own, worker.read), False, self.name)

    def block(self) -> float:
        """Seconds of one call on fresh inputs, every output verified."""
        self.checked(self.fresh())
        return self.worker.seconds

    def warm_up(self) -> None:
        """The first call traces and connects; the second shows that it is done with that."""
        for _ in range(2):
            self.block()


class Ceiling(RankSeries):
    """As many copies of trusted source, each in a world of its own: what it costs without talking. Their results are not compared."""

    def verify(self, inputs: tuple[Any, ...], said: list[Any]) -> list[Any]:
        return said


def _where(ranks: list[int], size: int) -> str:
    """Which ranks, at the beginning of a sentence."""
    if len(ranks) == size:
        return f"On all {size} ranks: " if size > 1 else ""
    named = crew.named(ranks)
    return f"On {named} (the other {'is' if size - len(ranks) == 1 else 'ones are'} right): "


def find(answers: Answers, name: str, declared: Exercise) -> Finding:
    """Whether an answer is right on every rank, and within its budgets."""
    cleaned = answers.readable(name)
    if isinstance(cleaned, Finding):
        return cleaned
    cells, notes = answers.chain(name)
    with Crew(answers.referee, declared, [*cells, (name, cleaned)], name) as team:
        try:
            found = _cases(answers, name, declared, team)
        except TROUBLE as e:
            found = _trouble(answers, name, declared, team, e)
    return dataclasses.replace(found, notes=(*notes, *found.notes))


def _cases(answers: Answers, name: str, declared: Exercise, team: Crew) -> Finding:
    """Public sizes on the public input, then these and the hidden ones on secret input; the first that is wrong ends it."""
    oracle, picture = answers.referee.oracle, None
    secret = np.random.default_rng([answers.seed, 1])
    counters: Mapping[str, float] = {}
    most: Mapping[str, float] = {}
    notes: list[str] = []
    for i, size in enumerate([*declared.sizes, *declared.sizes, *declared.hidden]):
        public = i < len(declared.sizes)
        rng = np.random.default_rng(PUBLIC_SEED) if public else secret
        world = team.world(size["ranks"])
        series = RankSeries(world, declared, name, size, rng, lambda calls: oracle.expect(name, calls))
        inputs, shown = series.fresh(), ", ".join(f"{k}={v}" for k, v in size.items())
        try:
            values = series.checked(inputs)
        except Rejected as e:
            case = Case(e.call, e.problem.got, e.expected, _with(size, world.counters))
            hint = oracle.hint(name, case) if e.problem.got is not None else None
            first, got, wanted = e.problem.message.split(" First difference")[0], e.problem.got, e.expected
            if public:
                message = f"{e.problem.message} (public input: {shown}, seed {PUBLIC_SEED})"
            else:
                message = f"{first} (on input that is not shown: {shown})"
                if i < 2 * len(declared.sizes):
                    message += " Other input of this size went well before: does the result depend on earlier calls?"
            drawn = case if public and got is not None and all(map(_alike, got, wanted)) else None
            return Finding(Outcome.WRONG, message, hint, answers.picture(name, drawn), team.printed())
        if foreign := team.foreign():
            return Finding(Outcome.WRONG, f"`{name}` loads {foreign}. This exercise wants your own computation, not a framework's.",
                           picture=picture, output=team.printed())
        case = Case(inputs, values, series.wanted, _with(size, world.counters))
        if i == 0:
            picture = answers.picture(name, case)
        budgets = _budgets(declared, name, size, world, notes)
        if over := next((key for key in budgets if world.counters[key] > budgets[key]), None):
            message = f"`{name}` is right, but {_too_much(over, world.counters[over], budgets[over])} ({shown})."
            return Finding(Outcome.WRONG, message, oracle.hint(name, case), picture, team.printed(),
                           counters={key: world.counters[key] for key in budgets}, budgets=budgets)
        if public:
            counters, most = {key: world.counters[key] for key in budgets}, budgets
        if world.unread and not notes:
            notes.append(f"{world.unread} The result is right, but on a real network such a program ends in an error.")
    return Finding(Outcome.PASS, "", None, picture, team.printed(), tuple(notes), counters, most)


def _alike(got: Any, wanted: Any) -> bool:
    """Whether a result has the shape that it should have."""
    if isinstance(wanted, tuple):
        return isinstance(got, tuple) and len(got) == len(wanted) and all(map(_alike, got, wanted))
    return getattr(got, "shape", None) == getattr(wanted, "shape", None)


def _with(size: Size, counters: Mapping[str, float]) -> dict[str, Any]:
    """A size with the counters of a call: whole numbers, but for the seconds."""
    return {**size, **{key: value if key == "seconds" else int(value) for key, value in counters.items()}}


def _budgets(declared: Exercise, name: str, size: Size, world: World, notes: list[str]) -> dict[str, float]:
    """The most that is allowed of each counter that this world keeps."""
    budgets = dict(declared.counters(size)) if declared.counters else {}
    if missing := budgets.keys() - world.counters.keys():
        if not (missing == {"loopback_bytes"} and declared.world == "horovod"):
            raise OracleError(f"{name} has budgets for {', '.join(sorted(missing))}, which its world does not count.")
        note = "There is no jail here, so the bytes between the ranks could not be told from those of other programs, and did not count."
        if note not in notes:
            notes.append(note)
    return {key: float(value) for key, value in budgets.items() if key not in missing}


def _too_much(key: str, value: float, budget: float) -> str:
    """ "it needs 24 messages; the budget is 14", to the last byte where rounding would hide the difference."""
    amount, most = theme.amount(key, value), theme.amount(key, budget)
    if amount == most:
        return f"it needs {value:,.10g} of {key.replace('_', ' ')}; the budget is {budget:,.10g}"
    return f"it needs {theme.counted(key, value)}; the budget is {most}"


def _trouble(answers: Answers, name: str, declared: Exercise, team: Crew, error: Exception) -> Finding:
    """What ranks that raised, died, fell silent, babbled or wait for each other mean for the student."""
    output = team.printed()
    if isinstance(error, Stuck):
        return Finding(Outcome.WRONG, f"`{name}` never ends. {error}", output=output)
    if isinstance(error, Unfinished):
        late, done = crew.named(error.ranks), len(error.ranks) < error.size
        why = ("while the others were done. Does every rank call the same collectives, in the same order?" if done
               else "nor on any other. Is there a loop that never ends, or do the ranks wait for each other?")
        where = late if done else "rank 0"
        return Finding(Outcome.TIMEOUT, f"`{name}` did not finish within {declared.seconds:g} s on {where}, {why}", output=output)
    if isinstance(error, MemoryError):
        raise OracleError(str(error))
    assert isinstance(error, OnRank)
    worker = team.last.workers[error.rank]
    if isinstance(error.error, Failed):
        if error.error.said.get("type") == "Missing":
            return Finding(Outcome.MALFORMED, f"The cell no longer defines `{name}`; the check calls a function of that name.")
        found = answers.exception(name, error.error.said, worker)
    elif isinstance(error.error, OSError):
        found = answers.guarded(name, worker, declared.seconds, Tampered(str(error.error)))
    else:
        found = answers.guarded(name, worker, declared.seconds, error.error)
    if found.outcome is Outcome.NOT_ATTEMPTED or team.last.size == 1:
        return dataclasses.replace(found, output=output)
    return dataclasses.replace(found, message=f"On rank {error.rank} of {team.last.size}: {found.message}", output=output)


def measured(answers: Answers, name: str, declared: Exercise, verdict: Verdict, stream: int) -> Finding | None:
    """Every target of an exercise on Horovod's ranks, into the verdict. Returns a finding where the answer fails while being measured.

    `stream` numbers the random inputs of this measurement.
    """
    referee = answers.referee
    entry = referee.lab.exercises[name]
    assert entry.shape
    cells, _ = answers.chain(name)
    others = Others()
    rng = np.random.default_rng([answers.seed, stream])
    share = (entry.points - entry.correct_points) / len(entry.targets)
    score = entry.correct_points
    with Crew(referee, declared, [*cells, (name, text.clean(answers.answers[name]))], name) as team:
        try:
            series = RankSeries(team.world(entry.shape["ranks"]), declared, name, entry.shape, rng,
                                lambda calls: referee.oracle.expect(name, calls))
            series.warm_up()
            for kind, target in entry.targets.items():
                baseline = _baseline(answers, name, declared, target.versus, kind == "efficiency", rng)
                found, noisy = timing.pairs(cast(Series, series), cast(Series, baseline), target, kind, rng)
                if noisy:
                    verdict.outcome = Outcome.TOO_NOISY
                    verdict.notes.append(others.advice())
                verdict.measured.append(found)
                score += share * found.credit
            verdict.score = math.fsum([score])
            if foreign := team.foreign():
                return Finding(Outcome.WRONG, f"`{name}` loads {foreign} while it is measured. This exercise wants your own "
                                              "computation, not a framework's.")
        except Rejected as e:
            return Finding(Outcome.WRONG, f"{e.problem.message} This was in a measured call: the checks before it went well, so "
                                          "does the result depend on earlier calls?", output=team.printed())
        except TROUBLE as e:
            slow = isinstance(e, Unfinished) or (isinstance(e, OnRank) and isinstance(e.error, TimedOut))
            if slow and others.busy():
                verdict.outcome = Outcome.TOO_NOISY                 # it was right, and in time, when nobody looked at the clock
                verdict.notes.append(others.advice())
                return None
            return _trouble(answers, name, declared, team, e)
    return None


def _baseline(answers: Answers, name: str, declared: Exercise, versus: str, alone: bool, rng: np.random.Generator) -> RankSeries:
    """A warmed-up baseline on as many ranks, `alone` or together; its world is kept, since it runs trusted source only."""
    referee = answers.referee
    kept = cast(RankSeries | None, referee.baselines.get((name, versus)))
    if kept is None or kept.worker.closed:
        shape = referee.lab.exercises[name].shape or {}
        source = referee.source
        cells = [(key, source.given.get(key) or source.answers[key]) for key in answers.order(name)]
        cells.append((versus, "import numpy as np\n" + declared.baseline_source(versus)))
        team = Crew(referee, declared, cells, declared.baselines[versus].__name__, trusted=True, alone=alone)
        try:
            kept = (Ceiling if alone else RankSeries)(team.world(shape["ranks"]), declared, versus, shape, rng,
                                                      lambda calls: referee.oracle.expect(name, calls))
            kept.warm_up()
        except (*TROUBLE, Rejected) as e:
            said = team.printed()[-300:]
            team.close()
            raise OracleError(f"the baseline {versus} of {name} failed: {e or type(e).__name__}. {said}") from None
        referee.baselines[name, versus] = cast(Series, kept)
    kept.rng = rng
    return kept
