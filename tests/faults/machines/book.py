"""What the rules promise of a journal, as a small pure model. Nothing here knows how it is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tests.faults.machines.entries import (
    APPLIED,
    NONE,
    NOTIFY_AFTER,
    PARKED_AFTER,
    SETTLE,
    UNKNOWN,
    Command,
    Content,
    Ended,
    Identity,
    Message,
    Moment,
    Refused,
    Token,
    Told,
    Window,
)
from worker.domain.effect import Risk
from worker.domain.lifecycle import EffectSeen, State


class Book:
    """Every method does what the journal's method of that name must have done, and says what it must answer."""

    def __init__(self) -> None:
        self.now = 0.0
        self.commits = 0
        self.arrivals = 0
        self.commands: list[Command] = []
        self.identities: dict[tuple[str, str], Identity] = {}
        self.holders: dict[tuple[str, str], Command] = {}
        self.windows: dict[str, Window] = {}
        self.told: list[Told] = []

    # What can be seen ---------------------------------------------------------------------------------

    def line(self, key: str) -> list[Command]:
        """Those of a key that have joined and have not ended, in order of arrival."""
        joined = [c for c in self.commands if c.key == key and not c.ended and c.arrival is not None]
        return sorted(joined, key=lambda c: c.arrival or 0)

    def head(self, key: str) -> Command | None:
        line = self.line(key)
        return line[0] if line else None

    def lent(self, key: str) -> int:
        """The priority of a key: the highest that waits in it (rule 4.2)."""
        return min(c.message.priority for c in self.line(key))

    def free(self, key: str) -> Command | None:
        """Whom this key lets go next: when it is due, and never two at once."""
        head, window = self.head(key), self.windows.get(key)
        if head is None or head.claim or head.state not in (State.WAITING, State.IN_DOUBT):
            return None
        if window and (window.command is not head or head.state is not State.IN_DOUBT):
            return None
        return head

    def claimable(self) -> list[Command]:
        free = [self.free(key) for key in sorted({c.key for c in self.commands})]
        return [c for c in free if c is not None and c.due.at <= self.now]

    def tokens(self) -> list[Token]:
        return [c.claim for c in self.commands if c.claim]

    # Time ---------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def moment(self, after: float = 0.0) -> Moment:
        return Moment(self.now + after, self.commits)

    def commit(self) -> None:
        self.commits += 1

    # Intake -------------------------------------------------------------------------------------------

    def admit(self, messages: Iterable[Message]) -> list[str]:
        self.commit()
        return [self._admit(message) for message in messages]

    def _admit(self, m: Message) -> str:
        if (known := self.identities.get((m.source, m.id))) is not None:
            return self._seen(known, m)
        holder = self.holders.get((m.source, m.idem))
        if holder is not None and (not holder.ended or holder.effect is not NONE):
            return self._spent(holder, m)
        if m.old:
            return self._refuse(m, "too_old")
        parent = None
        if m.depends_on is not None:
            named = self.identities.get((m.source, m.depends_on))
            if named is None or named.command is None:
                return self._refuse(m, "unknown_dependency")
            parent = named.command
        self.accept(m, parent)
        return "admitted"

    def accept(self, m: Message, parent: Command | None = None, retry_of: str | None = None) -> Command:
        expires = None if m.expires is None else self.now + m.expires
        new = Command(m, self.moment(), self.now + NOTIFY_AFTER, m.risk, expires, parent=parent)
        new.retry_of = retry_of
        later = m.not_before is not None and m.not_before > 0
        new.not_before = self.moment(m.not_before or 0.0) if later else None
        if not later and parent is None:
            self._join(new)
        new.records.append("admitted")
        self.commands.append(new)
        self.identities[m.source, m.id] = Identity(m, "command", new)
        self.holders[m.source, m.idem] = new
        return new

    def _join(self, command: Command) -> None:
        self.arrivals += 1
        command.arrival = self.arrivals

    def _seen(self, known: Identity, m: Message) -> str:
        if known.role == "inquiry" or known.message.content != m.content:
            return self._refuse(m, "id_conflict")
        if known.ending:
            of = known.command.message.id if known.role == "duplicate" and known.command else None
            self.told.append(Told(m.source, m.id, *known.ending, m.reply, again=True, of=of))
        return "repeated"

    def _spent(self, holder: Command, m: Message) -> str:
        if holder.message.content != m.content:
            return self._refuse(m, "idempotency_conflict")
        known = self.identities[m.source, m.id] = Identity(m, "duplicate", holder)
        if holder.ended:
            self._answer(known, holder)
        else:
            holder.duplicates.append(known)
        return "duplicate"

    def _answer(self, duplicate: Identity, holder: Command) -> None:
        m = duplicate.message
        duplicate.ending = (holder.state.value, holder.effect.value)
        self.told.append(Told(m.source, m.id, *duplicate.ending, m.reply, of=holder.message.id))

    def _refuse(self, m: Message, code: str) -> str:
        self.told.append(Told(m.source, m.id, "refused", "none", m.reply, of=code))
        return "refused"

    def inquire(self, what: str, source: str, id: str, target: str) -> tuple[str, str] | None:
        """`command.cancel` or `command.get` by the sender: status and effect, None when it names nothing."""
        self.commit()
        asked = Message(source, id, id, Content("", what))
        named = self.identities.get((source, target))
        command = None if named is None else named.command
        if command and what == "cancel" and command.untouched:
            self.end(command, Ended(State.CANCELLED, NONE))
        ending = ("rejected" if command is None else "succeeded", "none")
        self.identities[source, id] = Identity(asked, "inquiry", None, ending)
        self.told.append(Told(source, id, *ending))
        return None if command is None else (command.state.value, command.effect.value)

    # Engine -------------------------------------------------------------------------------------------

    def claim(self, c: Command, owner: str, lease: float) -> Token:
        """The journal has given it to `owner`."""
        self.commit()
        if c.state is State.WAITING:
            c.state, c.sent = State.RUNNING, False
            c.attempts += 1
        c.claim = Token(c, owner, lease, self.now + lease)
        return c.claim

    def mark_sent(self, token: Token, evidence: bool) -> bool:
        self.commit()
        c = token.command
        if c.claim is not token or token.until <= self.now:
            return False
        c.sent = True
        c.readings += evidence
        token.until = self.now + token.lease
        return True

    def settle_waiting(
        self,
        token: Token,
        due_in: float,
        *,
        counted: bool = True,
        failing: bool = True,
        step: Risk | None = None,
        unverified: bool = False,
        proved: bool = False,
    ) -> bool:
        """Again later, or on to the next step (`step`: its risk)."""
        if not self._settles(token):
            return False
        c = token.command
        if not counted and c.state is not State.IN_DOUBT:
            c.attempts -= 1
        self._survived(c, counted)
        if step is not None:
            c.steps, c.risk = c.steps + 1, step
            c.records.append("step_finished")
        c.unverified = unverified
        c.failing = failing or (c.failing and not counted)
        c.state, c.effect, c.claim = State.WAITING, self.so_far(c), None
        c.due = self.moment(due_in)
        self._proved(c, proved)
        return True

    def settle_doubt(self, token: Token, due_in: float, *, opens: bool, counted: bool = True) -> bool:
        if not self._settles(token):
            return False
        c = token.command
        if c.state is not State.IN_DOUBT:
            c.records.append("in_doubt")
        self._survived(c, counted)
        c.state, c.effect, c.claim = State.IN_DOUBT, UNKNOWN, None
        c.unverified, c.failing = False, True
        c.due = self.moment(due_in)
        if opens:
            self._open_window(c, self.now)
        return True

    def settle_parked(self, token: Token, unknown: bool) -> bool:
        if not self._settles(token):
            return False
        c = token.command
        self._survived(c)
        c.unverified, c.failing = False, True
        c.records.append("parked")
        self._park(c, UNKNOWN if unknown else self.so_far(c))
        return True

    def settle_ended(self, token: Token, ended: Ended, proved: bool = False) -> bool:
        if not self._settles(token):
            return False
        self._proved(token.command, proved)
        self.end(token.command, ended)
        return True

    def _settles(self, token: Token) -> bool:
        """A lease that lapsed while nobody took the command loses no answer (rule 5.4)."""
        self.commit()
        return token.command.claim is token

    def _survived(self, c: Command, counted: bool = True) -> None:
        """Its process lived through the call, or the reading: the next lapse is the first in a row (rule 1)."""
        c.planned = True
        if counted:
            c.lapsed = 0

    def so_far(self, c: Command) -> EffectSeen:
        return APPLIED if c.steps else NONE

    def _proved(self, c: Command, proved: bool) -> None:
        window = self.windows.get(c.key)
        if proved and window and window.command is c:
            del self.windows[c.key]

    def _open_window(self, c: Command, opened: float) -> None:
        self.windows[c.key] = Window(c, opened)
        c.window_closed = False

    def _park(self, c: Command, effect: EffectSeen) -> None:
        c.state, c.effect, c.claim, c.notify = State.PARKED, effect, None, None
        self.told.append(Told(c.message.source, c.message.id, "parked", effect.value, c.message.reply))

    def end(self, c: Command, ended: Ended) -> None:
        c.state, c.effect, c.finished = ended.state, ended.effect, self.moment()
        c.claim, c.notify, c.window_closed = None, None, False
        c.records.append("ended")
        status, effect = ended.state.value, ended.effect.value
        self.identities[c.message.source, c.message.id].ending = (status, effect)
        self.told.append(Told(c.message.source, c.message.id, status, effect, c.message.reply))
        for duplicate in c.duplicates:
            self._answer(duplicate, c)
        c.duplicates.clear()

    # Sweeps -------------------------------------------------------------------------------------------

    def rescue(self) -> int:
        """Lapsed leases: no call possibly begun: waiting; else in doubt; three in a row: parked (rules 1, 5.3)."""
        self.commit()
        lapsed = [t for t in self.tokens() if t.until < self.now]
        for token in lapsed:
            self._rescue(token.command, token)
        return len(lapsed)

    def _rescue(self, c: Command, token: Token) -> None:
        doubted = c.state is State.IN_DOUBT
        begun = doubted or c.risk is Risk.CLAIM or (c.risk is Risk.SENT and c.sent)
        c.lapsed += 1
        c.failing = True
        c.due, c.claim = self.moment(), None
        c.records.append("rescued")
        effect = UNKNOWN if begun else c.effect
        if c.lapsed >= PARKED_AFTER:
            self._park(c, effect)
        else:
            c.state, c.effect = (State.IN_DOUBT if begun else State.WAITING), effect
        if begun and not doubted:
            self._open_window(c, token.until)

    def control_answered(self, began: float) -> int:
        """A control read, begun at `began`, was answered: windows that stay open (rule 3.2)."""
        self.commit()
        for key, window in list(self.windows.items()):
            if window.opened > began:
                continue
            if window.first is None or self.now - (window.last or 0.0) > SETTLE / 3:
                window.first = self.now
            window.last = self.now
            if self.now - window.first >= SETTLE:
                self._close_window(key, window.command)
        return len(self.windows)

    def _close_window(self, key: str, c: Command) -> None:
        del self.windows[key]
        if c.state is State.IN_DOUBT:
            c.due = self.moment()
        if c.state in (State.IN_DOUBT, State.PARKED):
            c.window_closed = True

    def sweep(self) -> int:
        return self._joins() + self._expiries() + self._delays()

    def _joins(self) -> int:
        self.commit()
        ready = [c for c in self.commands if self._may_join(c)]
        ready.sort(key=lambda c: (max(c.not_before or (0, 0), self._freed(c)), c.number))
        failed = [c for c in ready if c.parent and c.parent.state is not State.SUCCEEDED]
        for c in failed:
            self.end(c, Ended(State.CANCELLED, NONE))
        for c in ready:
            if c not in failed:
                self._join(c)
                c.due = self.moment()
        return len(ready)

    def _freed(self, c: Command) -> tuple[float, int]:
        return (0.0, 0) if c.parent is None or c.parent.finished is None else c.parent.finished

    def _may_join(self, c: Command) -> bool:
        if c.ended or c.arrival is not None:
            return False
        in_time = c.not_before is None or c.not_before.at <= self.now
        return in_time and (c.parent is None or c.parent.ended)

    def _expiries(self) -> int:
        self.commit()
        late = [c for c in self.commands if c.untouched and c.expires is not None and c.expires <= self.now]
        for c in late:
            self.end(c, Ended(State.EXPIRED, NONE))
        return len(late)

    def _delays(self) -> int:
        self.commit()
        late = [c for c in self.commands if c.notify is not None and c.notify <= self.now]
        for c in late:
            c.notify = None
            m = c.message
            self.told.append(Told(m.source, m.id, "delayed", c.effect.value, m.reply))
        return len(late)

    # People -------------------------------------------------------------------------------------------

    def cancel(self, c: Command) -> None:
        self.commit()
        parked = c.state is State.PARKED and c.effect is not UNKNOWN and not c.unverified
        if not (c.untouched or parked):
            raise Refused
        # It never ends cancelled with a finished step (rule 1).
        self.end(c, Ended(State.REJECTED, APPLIED) if c.steps else Ended(State.CANCELLED, NONE))

    def resolve(self, c: Command, applied: bool, waive: bool) -> None:
        self.commit()
        if c.state not in (State.PARKED, State.IN_DOUBT) or c.effect is not UNKNOWN:
            raise Refused
        window = self.windows.get(c.key)
        if window and window.command is c:
            if not waive:
                raise Refused
            del self.windows[c.key]
        if applied and not c.planned:  # more may be left of it: a worker looks
            c.state, c.effect, c.due, c.claim = State.WAITING, APPLIED, self.moment(), None
            c.lapsed, c.failing, c.unverified = 0, False, False
            c.steps, c.risk, c.sent = c.steps + 1, Risk.NONE, False
            c.records.append("resolved")
            return
        ended = Ended(State.SUCCEEDED, APPLIED) if applied else Ended(State.REJECTED, self.so_far(c))
        self.end(c, ended)

    def retry(self, c: Command) -> Message | None:
        """None: it goes on. Else the message of the new command that takes its place, still to be `accept`ed."""
        self.commit()
        if c.effect is UNKNOWN:
            raise Refused
        if c.state is State.PARKED:
            c.state, c.due, c.lapsed, c.failing = State.WAITING, self.moment(), 0, False
            c.records.append("retried")
            return None
        holder = self.holders[c.message.source, c.message.idem]
        newer = holder is not c and (not holder.ended or holder.effect is not NONE)
        if not c.ended or newer or (c.state is State.SUCCEEDED and c.effect is APPLIED):
            raise Refused
        c.records.append("retried")
        return replace(
            c.message, id="", risk=c.message.risk, not_before=None, expires=None, depends_on=None, old=False
        )
