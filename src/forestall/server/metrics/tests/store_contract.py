"""What every store of samples must do. A store's test file subclasses ``StoreContract`` and gives it stores."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forestall.server.metrics.store import Batch
from forestall.wire.codec import catalogue_id

ADA = UUID(int=0xADA)
BOB = UUID(int=0xB0B)
NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)
NAMES = ("cpu.used_percent", "disk.used_percent{volume=/}")


def ms(moment):
    return int(moment.timestamp() * 1000)


def minutes(*, device=ADA, names=NAMES, start=NINE, count=60, base=0.0):
    """A check-in a minute: the first series rises by one, the second stays at 50."""
    return [
        Batch(
            device,
            names,
            [ms(start + timedelta(minutes=minute))],
            np.array([[base + minute] + [50.0] * (len(names) - 1)]),
        )
        for minute in range(count)
    ]


class StoreContract:
    @pytest.fixture
    def open_again(self):
        """A function that opens the same store once more, as another process would."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_again):
        store = open_again()
        yield store
        store.close()

    def range(self, store, *, names=NAMES, start=NINE, hours=1.0, step=None, device=ADA):
        return store.range(
            device_id=device, names=names, start=start, end=start + timedelta(hours=hours), step_seconds=step
        )

    def test_an_empty_store_knows_nothing(self, store):
        assert store.latest(device_ids=[ADA]) == {}
        assert self.range(store) == {}
        assert store.series_names(device_id=ADA) == []
        assert store.catalogue(b"\0" * 16) is None
        assert store.compact(now=NINE) == 0
        assert store.usage()["recent_rows"] == 0

    def test_what_was_appended_is_read_by_another_process(self, store, open_again):
        store.append(minutes(count=3))
        other = open_again()
        points = self.range(other)["cpu.used_percent"]
        assert points.times.tolist() == [NINE.timestamp() + 60 * minute for minute in range(3)]
        assert points.mean.tolist() == points.min.tolist() == points.max.tolist() == [0, 1, 2]
        assert points.count.tolist() == [1, 1, 1]
        assert other.series_names(device_id=ADA) == sorted(NAMES)
        assert other.catalogue(catalogue_id(NAMES)) == NAMES
        other.close()

    def test_the_same_samples_again_change_nothing(self, store):
        store.append(minutes(count=5))
        store.append(minutes(count=5))
        assert self.range(store)["cpu.used_percent"].count.sum() == 5
        store.compact(now=NINE + timedelta(hours=2))
        store.append(minutes(count=5))
        assert self.range(store)["cpu.used_percent"].count.sum() == 5
        store.compact(now=NINE + timedelta(hours=2))
        assert self.range(store)["cpu.used_percent"].mean.tolist() == [0, 1, 2, 3, 4]

    def test_packing_changes_no_answer(self, store):
        store.append(minutes(count=150))
        before = self.range(store, hours=3)
        assert store.compact(now=NINE + timedelta(hours=2, minutes=30)) == 2
        after = self.range(store, hours=3)
        for name in NAMES:
            np.testing.assert_array_equal(after[name].times, before[name].times)
            np.testing.assert_array_equal(after[name].mean, before[name].mean)
        assert store.usage()["frames"] == 2
        assert store.usage()["recent_rows"] == 30
        assert store.compact(now=NINE + timedelta(hours=2, minutes=30)) == 0

    def test_an_hour_is_packed_only_when_it_is_over_and_settled(self, store):
        store.append(minutes(count=60))
        assert store.compact(now=NINE + timedelta(minutes=64)) == 0
        assert store.compact(now=NINE + timedelta(minutes=65)) == 1

    def test_samples_that_come_days_late_join_their_hour(self, store):
        even = [one for index, one in enumerate(minutes()) if index % 2 == 0]
        odd = [one for index, one in enumerate(minutes()) if index % 2]
        store.append(even)
        store.compact(now=NINE + timedelta(hours=2))
        store.append(odd)
        assert self.range(store)["cpu.used_percent"].mean.tolist() == list(range(60))
        store.compact(now=NINE + timedelta(days=3))
        assert self.range(store)["cpu.used_percent"].mean.tolist() == list(range(60))
        assert self.range(store, step=3600)["cpu.used_percent"].count.tolist() == [60]

    def test_samples_older_than_the_first_packed_hour_are_read_before_they_are_packed(self, store):
        history = minutes(count=129)
        store.append([history[100]])
        store.compact(now=NINE + timedelta(hours=5))
        store.append(history[:100] + history[101:])
        assert self.range(store, hours=4)[NAMES[0]].mean.tolist() == [float(minute) for minute in range(129)]

    def test_a_step_draws_samples_together_and_a_gap_stays_a_gap(self, store):
        store.append(minutes(count=10))
        store.append(minutes(start=NINE + timedelta(minutes=20), count=10, base=20.0))
        points = self.range(store, step=600)["cpu.used_percent"]
        assert points.times.tolist() == [NINE.timestamp(), NINE.timestamp() + 1200]
        assert points.mean.tolist() == [4.5, 24.5]
        assert points.min.tolist() == [0, 20]
        assert points.max.tolist() == [9, 29]
        assert points.count.tolist() == [10, 10]

    def test_a_missing_sample_is_none_and_not_zero(self, store):
        store.append([Batch(ADA, NAMES, [ms(NINE), ms(NINE) + 60_000], np.array([[1.0, np.nan], [np.nan, 5.0]]))])
        for now in (NINE, NINE + timedelta(hours=2)):
            store.compact(now=now)
            found = self.range(store)
            assert found["cpu.used_percent"].mean.tolist() == [1.0]
            assert found["disk.used_percent{volume=/}"].times.tolist() == [NINE.timestamp() + 60]
        hourly = self.range(store, step=3600)
        assert hourly["cpu.used_percent"].count.tolist() == [1]
        latest = store.latest(device_ids=[ADA])[ADA]
        assert latest == {"disk.used_percent{volume=/}": (NINE.timestamp() + 60, 5.0)}

    def test_hours_are_answered_alike_from_samples_and_from_rollups(self, store):
        store.append(minutes(count=180))
        before = self.range(store, hours=3, step=3600)
        store.compact(now=NINE + timedelta(hours=2, minutes=30))
        after = self.range(store, hours=3, step=3600)
        for name in NAMES:
            for field in ("times", "mean", "min", "max", "count"):
                np.testing.assert_allclose(getattr(after[name], field), getattr(before[name], field))
        days = self.range(store, hours=24, start=NINE.replace(hour=0), step=86_400)
        assert days["cpu.used_percent"].count.tolist() == [180]
        assert days["cpu.used_percent"].mean.tolist() == [89.5]

    def test_series_come_and_go_within_an_hour(self, store):
        store.append(minutes(count=30))
        more = (*NAMES, "disk.used_percent{volume=/srv}")
        store.append(minutes(start=NINE + timedelta(minutes=30), count=30, names=more, base=30.0))
        for now in (NINE, NINE + timedelta(hours=2)):
            store.compact(now=now)
            found = self.range(store, names=more)
            assert found["cpu.used_percent"].mean.tolist() == list(range(60))
            assert found["disk.used_percent{volume=/srv}"].count.sum() == 30
        assert store.series_names(device_id=ADA) == sorted(more)

    def test_devices_are_kept_apart(self, store):
        store.append([*minutes(count=2), *minutes(device=BOB, count=2, base=70.0)])
        for now in (NINE, NINE + timedelta(hours=2)):
            store.compact(now=now)
            assert self.range(store, device=BOB)["cpu.used_percent"].mean.tolist() == [70, 71]
            assert store.latest(device_ids=[ADA, BOB], metrics=["cpu.used_percent"]) == {
                ADA: {"cpu.used_percent": (NINE.timestamp() + 60, 1.0)},
                BOB: {"cpu.used_percent": (NINE.timestamp() + 60, 71.0)},
            }

    def test_what_is_forgotten_is_gone_and_nothing_else(self, store, open_again):
        store.append(minutes(count=180) + minutes(device=BOB, count=180))
        store.compact(now=NINE + timedelta(hours=2))
        store.forget(device_ids=[ADA, UUID(int=7)])
        for each in (store, open_again()):
            assert self.range(each, hours=3) == {}
            assert each.series_names(device_id=ADA) == []
            assert len(self.range(each, hours=3, device=BOB)[NAMES[0]].times) == 180
        store.append(minutes(count=1))
        assert len(self.range(store)[NAMES[0]].times) == 1, "a device of that id may begin anew"

    def test_frames_are_kept_35_days_and_rollups_25_months(self, store):
        store.append(minutes())
        store.compact(now=NINE + timedelta(hours=2))
        store.compact(now=NINE + timedelta(days=36))
        assert store.usage()["frames"] == 0
        points = self.range(store, start=NINE - timedelta(hours=3), hours=24)["cpu.used_percent"]
        assert points.times.tolist() == [NINE.timestamp()]
        assert (points.mean[0], points.min[0], points.max[0], points.count[0]) == (29.5, 0, 59, 60)
        store.compact(now=NINE + timedelta(days=763))
        assert store.usage()["rollups"] == 0
        assert self.range(store) == {}

    def test_a_batch_of_the_wrong_shape_is_refused_whole(self, store):
        with pytest.raises(ValueError, match=r"\(1, 1\), expected \(1, 2\)"):
            store.append([*minutes(count=1), Batch(BOB, NAMES, [1], np.array([[1.0]]))])
        assert self.range(store) == {}
        store.append(minutes(count=1))
        assert self.range(store)["cpu.used_percent"].count.sum() == 1

    def test_a_step_of_nothing_is_refused(self, store):
        with pytest.raises(ValueError, match="step_seconds: 0"):
            self.range(store, step=0)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_any_history_reads_the_same_however_often_it_was_packed(self, open_again, data):
        """Samples in any order and any number of times, packed at any moments: what is read is what was sampled."""
        store = open_again()
        device = uuid4()  # the examples share one file
        history = minutes(device=device, count=data.draw(st.integers(1, 200)))
        order = data.draw(st.permutations(range(len(history)))) + data.draw(
            st.lists(st.integers(0, len(history) - 1), max_size=20)
        )
        position = 0
        while position < len(order):
            size = data.draw(st.integers(1, 80))
            store.append([history[index] for index in order[position : position + size]])
            position += size
            if data.draw(st.booleans()):
                store.compact(now=NINE + timedelta(hours=data.draw(st.integers(0, 5))))
        points = self.range(store, device=device, hours=4)["cpu.used_percent"]
        assert points.mean.tolist() == [float(minute) for minute in range(len(history))]
        store.close()
