"""Folders and names made to do harm: links out of a file, records that claim too much, text that is a command."""

import json
import os
import shutil
import threading
import time

import h5py
import numpy as np
import pytest
from elboroom.inference.posterior import save as saving
from elboroom.ppl import files, interrupts, turns
from elboroom.ppl.names import printable
from typer.testing import CliRunner

import elboroom as er
from elboroom.__main__ import app
from elboroom.folder import read_report

NAME = "cost $\\frac{$ ![x](http://there/x.png)"
GROUPS = ["$a", "b\x1b[31m", "<b>c</b>", "d|e"]


@er.model
def costs(group, y=None):
    mu = er.sample(NAME, er.Normal(0, 5))
    with er.plate("group", er.levels(group)):
        theta = er.sample("theta $", er.Normal(mu, 1.0))
    with er.plate("row", len(group)):
        er.observe("y $_{", er.Normal(theta[group], 1.0), y)


@pytest.fixture(scope="module")
def posterior():
    group = GROUPS * 6
    y = np.random.default_rng(0).normal(size=len(group))
    return er.fit(costs(group, y), progress=False)


@pytest.fixture
def folder(posterior, tmp_path):
    return posterior.save(tmp_path / "posterior")


def again(folder, change):
    """Change the draws' file and give the record the digest of what it is now."""
    with h5py.File(folder / saving.DRAWS, "r+") as file:
        change(file)
    rewrite(folder, lambda record: None)


def rewrite(folder, change):
    record, _ = files.unsealed_json((folder / saving.RECORD).read_bytes())
    for name in record["files"]:
        record["files"][name] = digest(folder / name)
    change(record)
    (folder / saving.RECORD).write_bytes(files.sealed_json(record))


def digest(path):
    return files.hashlib.sha256(path.read_bytes()).hexdigest()


def external(file):
    del file["observed_data"]
    file["observed_data"] = h5py.ExternalLink("/etc/passwd", "/")


def soft(file):
    file["posterior/again"] = h5py.SoftLink("/fit")


def storage(file):
    file.create_dataset("posterior/out", (16,), "u1", external=[("/etc/passwd", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("posterior/out", layout)


def bomb(file):
    made = file.create_dataset("posterior/out", (10**10,), "f8", chunks=(10**5,), compression="gzip")
    made[0] = 1.0


def deep(file):
    file.create_group("posterior/one/two")


@pytest.mark.parametrize("change", [external, soft, storage, virtual, bomb, deep])
def test_files_that_reach_beyond_themselves_are_refused(folder, change):
    again(folder, change)
    with pytest.raises(er.InferenceError, match=r"posterior\.nc"):
        er.load(folder)


def test_records_without_digests_are_refused(folder):
    rewrite(folder, lambda record: record.update(files={}))
    with pytest.raises(er.InferenceError, match="without a digest of"):
        er.load(folder)
    record = json.loads((folder / saving.RECORD).read_text())
    del record["digest"]
    (folder / saving.RECORD).write_text(json.dumps(record))
    with pytest.raises(er.InferenceError, match="without its digest"):
        er.load(folder)
    (folder / saving.RECORD).write_text("[" * 100_000)
    with pytest.raises(er.InferenceError, match="nested too deeply"):
        er.load(folder)


def test_a_changed_mean_or_verdict_is_refused(folder):
    record = json.loads((folder / saving.RECORD).read_text())
    for key, value in (("mean", 3.0), ("verdict", "trusted"), ("sd", 0.001)):
        changed = json.loads(json.dumps(record))
        changed["table"][key][0] = value
        if changed != record:
            (folder / saving.RECORD).write_text(json.dumps(changed))
            with pytest.raises(er.InferenceError, match="changed content"):
                er.load(folder)
    (folder / saving.RECORD).write_text(json.dumps(record))  # other spaces, the same content
    er.load(folder)


def test_folders_of_version_01_still_load(folder, posterior):
    rewrite(folder, lambda record: record.update(format=f"{saving.FORMAT}/1"))
    record = json.loads((folder / saving.RECORD).read_text())
    del record["digest"]
    (folder / saving.RECORD).write_text(json.dumps(record))
    loaded = er.load(folder)
    assert loaded.summary().equals(posterior.summary())
    assert loaded.findings[-1].name == "no checksum"


@pytest.mark.parametrize("exchange", [True, False])
def test_what_a_killed_writer_took_away_comes_back(folder, posterior, monkeypatch, exchange):
    aside = files._beside(folder, files.OLD)
    os.rename(folder, aside)
    draft = files._beside(folder, files.DRAFT)
    draft.mkdir()
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    assert er.load(folder).summary().equals(posterior.summary())
    posterior.save(folder)
    assert os.listdir(folder.parent) == [folder.name]


def test_a_living_writer_keeps_its_draft(tmp_path):
    path = tmp_path / "out"
    with files.folder(path) as draft:
        files.write(draft / "a", "1")
        files.tidy(path)
        assert (draft / "a").exists()
    assert (path / "a").read_text() == "1"


def test_readers_beside_a_writer_see_one_state(folder, posterior):
    over = threading.Event()

    def write():
        while not over.is_set():
            posterior.save(folder)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            assert er.load(folder).summary().equals(posterior.summary())
    finally:
        over.set()
        writer.join()


def test_a_symbolic_link_stays_one(posterior, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "latest").symlink_to("run")
    posterior.save(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink() and (tmp_path / "run" / saving.RECORD).exists()


# -- text --------------------------------------------------------------------------------------------------


def test_any_name_and_label_can_be_reported(posterior, tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    page = posterior.report(tmp_path).read_text()
    summary = (tmp_path / "report.md").read_text()
    assert dict(matplotlib.rcParams) == before
    assert "<b>c</b>" not in page and "\x1b" not in summary + repr(posterior)
    assert "![x]" not in summary and "<b>" not in summary
    assert read_report(tmp_path)["verdict"] == posterior.verdict
    assert "\\x1b[31m" in printable("\x1b[31m")


def test_settings_of_the_user_are_not_those_of_the_report(posterior, tmp_path):
    import matplotlib

    first = posterior.report(tmp_path / "one").read_text()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "mine"}):
        assert posterior.report(tmp_path / "two").read_text() == first


class Unreportable:
    """Stands for a posterior whose report fails."""

    verdict = "trusted"

    def __init__(self, posterior):
        self.posterior, self.save, self.summary = posterior, posterior.save, posterior.summary

    def report(self, folder):
        raise ValueError("ParseException: $ \x1b[31m")


def test_a_report_that_fails_costs_no_fit(posterior, tmp_path, monkeypatch):
    (tmp_path / "costs.py").write_text(
        "import elboroom as er\n@er.model\ndef m(y=None):\n    er.observe('y', er.Normal(er.sample('a', er.Normal(0, 1)), 1), y)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("elboroom.inference.fit.fit", lambda *a, **k: Unreportable(posterior))
    done = CliRunner().invoke(app, ["fit", "costs:m", "--out", "out", "--set", "y=1.0"])
    assert done.exit_code == 1 and "ParseException" in done.output and "\x1b" not in done.output
    assert er.load("out/posterior").verdict == posterior.verdict


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "splendid"}, {"verdict": ["trusted"]}, {"verdict": None}, {"fits_data": "yes"},
        {"schema": "other/1"}, {"fits_data": []},
    ],
)  # fmt: skip
def test_check_refuses_what_is_no_report(posterior, tmp_path, change):
    posterior.report(tmp_path)
    record, _ = files.unsealed_json((tmp_path / "report.json").read_bytes())
    (tmp_path / "report.json").write_bytes(files.sealed_json(record | change))
    assert CliRunner().invoke(app, ["check", str(tmp_path)]).exit_code == 2
    (tmp_path / "report.json").write_bytes(files.sealed_json(record)[:500])
    assert CliRunner().invoke(app, ["check", str(tmp_path)]).exit_code == 2


# -- nothing of the process is changed ---------------------------------------------------------------------


def test_a_fit_changes_nothing_that_other_threads_see():
    import gc
    import warnings

    import jax
    import matplotlib

    seen, over = set(), threading.Event()

    def state():
        mask = os.umask(0o022)
        os.umask(mask)
        filters, rc = len(warnings.filters), hash(tuple(map(str, matplotlib.rcParams.items())))
        return gc.isenabled(), mask, jax.config.jax_compilation_cache_dir, rc, filters

    def look():
        while not over.is_set():
            seen.add(state()[:4])
            time.sleep(0.001)

    before = state()
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        er.fit(costs(GROUPS * 6, np.arange(24) / 10), progress=False)
    finally:
        over.set()
        watcher.join()
    assert seen == {before[:4]} and state() == before


@pytest.fixture
def heard():
    """Interrupts raise, in a shell's background too, which ignores them."""
    signal = interrupts.signal
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupts_wait_for_the_end_of_what_is_held(heard):
    order = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts.deferred():
            os.kill(os.getpid(), interrupts.signal.SIGINT)
            order.append("held")
        order.append("never")
    with pytest.raises(KeyboardInterrupt):
        with turns.running():
            os.kill(os.getpid(), interrupts.signal.SIGINT)
            order.append("running")
    with interrupts.deferred(answered=True):
        with pytest.raises(KeyboardInterrupt), interrupts.interruptible():
            os.kill(os.getpid(), interrupts.signal.SIGINT)
            order.append("never")
        assert interrupts.came()
    with pytest.raises(KeyboardInterrupt, match="nothing yet"), interrupts.in_words("with nothing yet"):
        os.kill(os.getpid(), interrupts.signal.SIGINT)
    assert order == ["held", "running"] and not interrupts.came()
    assert interrupts.signal.getsignal(interrupts.signal.SIGINT) is interrupts.signal.default_int_handler


def test_drafts_of_others_are_left_alone(tmp_path):
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    (tmp_path / ".out.12345").mkdir()
    (tmp_path / ".other.deadbeef.draft").mkdir()
    with files.folder(tmp_path / "out") as draft:
        files.write(draft / "a", "1")
    assert sorted(os.listdir(tmp_path)) == [".other.deadbeef.draft", ".out.12345", "out"]
