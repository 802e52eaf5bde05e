"""The text of /metrics: the worker's registry, and what broker and journal count. Labels are bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.console.health import JournalWatch, Seen, figures

CACHED = 5.0  # seconds: the journal is not asked more often for figures, however many ask us


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a part counts. `labels` are of a closed list: queues, results, exchanges."""

    name: str
    kind: str  # counter or gauge
    help: str
    value: float
    labels: Mapping[str, str]


Figures = Callable[[], Iterable[Figure]]


class PartsCollector(Collector):
    """What the parts of this process count themselves, read when somebody asks."""

    def __init__(self) -> None:
        self.parts: list[Figures] = []
        self.seen: Seen | None = None

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for part in self.parts:
            for figure in part():
                families.setdefault(figure.name, _family(figure)).add_sample(
                    figure.name, dict(figure.labels), figure.value
                )
        yield from families.values()
        if self.seen is not None:
            yield from of_journal(self.seen)


def _family(figure: Figure) -> Metric:
    if figure.kind == "counter":
        return CounterMetricFamily(figure.name.removesuffix("_total"), figure.help, labels=[*figure.labels])
    return GaugeMetricFamily(figure.name, figure.help, labels=[*figure.labels])


def of_journal(seen: Seen) -> Iterator[Metric]:
    up = GaugeMetricFamily("worker_journal_up", "1: the journal answers")
    up.add_metric([], 0.0 if seen.health is None else 1.0)
    yield up
    if seen.health is None:
        return
    for name, value in figures(seen.health).items():
        gauge = GaugeMetricFamily(f"worker_journal_{name}", f"In the journal, of all processes: {name}")
        gauge.add_metric([], value)
        yield gauge
    unheard = GaugeMetricFamily(
        "worker_nobody_listens", "Events since the last one that somebody took", labels=["exchange"]
    )
    for exchange, count in seen.health.nobody_listens.items():
        unheard.add_metric([exchange], count)
    yield unheard


class Metrics:
    def __init__(self, registry: CollectorRegistry, watch: JournalWatch) -> None:
        self._registry = registry
        self._watch = watch
        self._collector = PartsCollector()
        # A line more for each series, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library says no types here
        registry.register(self._collector)

    @property
    def parts(self) -> list[Figures]:
        return self._collector.parts

    async def text(self) -> bytes:
        self._collector.seen = await self._watch.seen(max_age=CACHED)
        return generate_latest(self._registry)
