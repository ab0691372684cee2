"""The embedded store keeps the contract; the rest here is about its file."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from pathlib import Path

import pytest

from forestall.server.metrics.embedded import EmbeddedStore

sys.path.insert(0, str(Path(__file__).parent))
from store_contract import NINE, StoreContract, minutes


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def open_again(self, tmp_path):
        return lambda: EmbeddedStore(tmp_path / "samples.sqlite3")

    def test_reading_makes_no_file_and_writes_none(self, tmp_path):
        store = EmbeddedStore(tmp_path / "none.sqlite3")
        assert self.range(store) == {}
        assert list(tmp_path.iterdir()) == []

    def test_a_reader_works_after_the_writer_has_gone(self, store, open_again):
        store.append(minutes(count=3))
        store.close()
        assert self.range(open_again())["cpu.used_percent"].count.sum() == 3

    def test_a_store_killed_while_it_packs_loses_and_doubles_nothing(self, tmp_path):
        program = textwrap.dedent("""
            import sys
            from datetime import timedelta
            from pathlib import Path
            from forestall.server.metrics.embedded import EmbeddedStore
            sys.path.insert(0, sys.argv[1])
            from store_contract import NINE, minutes
            store = EmbeddedStore(Path(sys.argv[2]))
            store.append(minutes(count=600))
            print("appended", flush=True)
            for hour in range(1, 12):
                store.compact(now=NINE + timedelta(hours=hour, minutes=5))
        """)
        path = tmp_path / "samples.sqlite3"
        for attempt in range(6):
            process = subprocess.Popen(
                [sys.executable, "-c", program, str(Path(__file__).parent), str(path)], stdout=subprocess.PIPE
            )
            process.stdout.readline()
            time.sleep(0.002 * attempt)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
            store = EmbeddedStore(path)
            assert self.range(store, hours=10)["cpu.used_percent"].mean.tolist() == list(range(600))
            store.close()

    def test_a_full_file_system_is_an_error_and_not_a_loss(self, store, tmp_path):
        store.append(minutes(count=10))
        # SQLite's own limit stands for the full disk: the same error, at the same places.
        store._writer.execute("PRAGMA max_page_count = 10")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            store.append(minutes(start=NINE + timedelta(hours=1), count=600))
        assert self.range(store, hours=20)["cpu.used_percent"].count.sum() == 10
        store.append(minutes(start=NINE + timedelta(hours=1), count=600))
        assert self.range(store, hours=20)["cpu.used_percent"].count.sum() == 610
