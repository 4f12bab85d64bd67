"""The command line: what works, and what is refused in one line with exit code 2 before any work."""

import pytest
from hydra.core.config_store import ConfigStore

from launch import help
from launch.kinds import cores
from store.runs import RunStore
from tests.helpers import command, names
from training.loop import Trainer

REFUSED = {
    "algo=tpoo": ["algo=tpoo", "did you mean tpo?", "grpo_no_kl"],
    "env=spars_bandit": ["env=spars_bandit", "did you mean sparse_bandit?", "contextual_bandit"],
    "algo.eta=high": ["algo.eta=high: must be a number"],
    "train.steps=1.5": ["train.steps=1.5: must be a whole number"],
    "algo.etta=2": ["algo.etta", "did you mean eta?"],
    "+algo.etta=2": ["algo.etta", "did you mean eta?"],
    "train.stepz=2": ["train.stepz", "did you mean steps?"],
    "foo=1": ["foo", "seeds"],
    "eta=1": ["eta: unknown key; did you mean algo.eta?"],
    "algo=TPO": ["algo=TPO", "did you mean tpo?"],
    "algo.eta=null": ["algo.eta=null: must be a number"],
    "--algo=tpo": ["--algo=tpo: a setting has no dashes; type algo=tpo"],
    "algo tpo": ["algo: has no value; must be algo=VALUE"],
    "+foo=1": ["foo", "seeds"],
    "+scales=1": ["scales", "seeds"],
    "algo.eta=0": ["algo.eta=0.0", "> 0"],
    "algo.eta=nan": ["algo.eta=nan", "finite"],
    "optim.lr=inf": ["optim.lr=inf", "finite"],
    "-m algo=glob(x*)": ["algo=glob(x*)", "no file"],
    "-m paper=fig02,fig03": ["paper=fig02,fig03", "one sweep file at a time"],
    "algo=tpo,grpo": ["algo=tpo,grpo", "python run.py -m algo=tpo,grpo runs_dir=runs"],
    "alg.eta=1": ["alg: unknown key (did you mean algo?)"],
    "-m algo=tpo,grpo algo.eta=2": ["algo.eta", "some of the chosen files have no such key"],
    "env=dense_reversal model=mlp": ["model=mlp", "env=dense_reversal", "allowed: model=transformer"],
    "env=sparse_bandit model=transformer": ["model=transformer", "env=sparse_bandit", "allowed: model=tabular"],
    "-m algo.eta=-2,-1": ["algo.eta=-2.0", "algo.eta=-1.0", "> 0"],
    "optim.lr=-1": ["optim.lr=-1.0", "> 0"],
    "train.epochs=0": ["train.epochs=0", "null or >= 1"],
    "env.correct=100": ["env.correct=100", "99"],
    "env.arms=1": ["env.arms=1", ">= 2"],
    "env.batch=1 algo=grpo": ["algo=grpo", "env.batch=1: must be >= 2"],
    "train.micro_batch=0 env=terminal_reversal": ["train.micro_batch=0", "null or >= 1"],
    "train.micro_batch=8 env=digits": ["train.micro_batch=8", "env=digits", "null"],
    "env=arithmetic model=tiny_qwen3,Qwen/Qwen3-1.7B -m": ["model=tiny_qwen3,Qwen/Qwen3-1.7B: a grid mixes files"],
    "algo=remax env=dense_reversal sampler=token_group": ["sampler=token_group", "algo=remax", "sampler=auto"],
    "seeds=0": ["seeds=0", "from 1 to"],
    "seeds=99999999999999999999": ["seeds=99999999999999999999", "from 1 to"],
    "seeds=[3,7,3]": ["seeds=[3, 7, 3]", "3 is given twice"],
    "seeds=[]": ["seeds=[]", "from 1 to"],
    "seeds=two": ["seeds=two", "list of whole numbers"],
    "seeds=[3,": ["seeds=[3,", "key=value"],
    "device=tpu": ["device=tpu", "auto, cpu, cuda"],
    "force=maybe": ["force=maybe", "true or false"],
    "tracker=mlflow": ["tracker=mlflow", "wandb"],
    "algo.color=red": ["algo.color=red", "#0072B2"],
    "algo.name=../up": ["algo.name=../up", "letters"],
    "paper=fig99": ["paper=fig99", "fig02"],
    "paper=fig02 studies=noise": ["paper=fig02 studies=noise", "one sweep file at a time"],
    "--config-name=foo": ["--config-name=foo: not found; leave it out"],
    "algo=null": ["algo=null", "takes the name of a file", "grpo_no_kl"],
    "env=[1,2]": ["env=[1,2]", "takes the name of a file", "sparse_bandit"],
    "-m optim=1,2": ["optim=1,2", "takes the name of a file", "muon"],
    "+model=[1]": ["model=[1]", "takes the name of a file", "tabular"],
    "train={steps:3}": ["train={steps:3}", "one of its settings is written train.KEY=VALUE"],
    "paper=null": ["paper=null", "takes the name of a file", "fig02"],
    "paper=fig02,fig03": ["one sweep file at a time", "run.py paper=fig02 runs_dir=runs && python run.py paper=fig03"],
    "paper=fig02 paper=fig03": ["paper=fig02 paper=fig03: one sweep file at a time"],
    "-m paper=glob(fig*)": ["paper=glob(fig*): one sweep file at a time"],
    "paper=fig11": ["paper=fig11: not found", "drawn from the runs of fig10: python run.py paper=fig10"],
    "paper=table3 scale=quick": ["of fig07 and fig07_interactions", "run.py paper=fig07_interactions scale=quick"],
    "studies=rivals": ["studies=rivals: not found", "&& python run.py studies=rivals_terminal"],
    "paper=noise": ["paper=noise: not found; type python run.py studies=noise"],
    "runs_dir=my folder": ["folder: must be key=value", "'runs_dir=my folder'"],
    "runs_dir=~nobody_here/runs": ["runs_dir=~nobody_here/runs: there is no such user"],
    "algo_path=~nobody_here/own": ["algo_path=~nobody_here/own: no such folder"],
    "env=mnist env.data_dir=~nobody_here/mnist": ["env.data_dir=~nobody_here/mnist: must be a folder that holds"],
    "env=gsm8k env.data_dir=~nobody_here/words": ["env.data_dir=~nobody_here/words: must be a folder that holds"],
    "env=text env.data=~nobody_here/rows.jsonl": ["env.data=~nobody_here/rows.jsonl: no such file"],
    "env=arithmetic model=~nobody_here/model": ["model.path=~nobody_here/model: must be a folder with a model"],
    "algo.eta=${nothing}": ["algo.eta: Interpolation key 'nothing' not found"],
    "algo.eta=???": ["algo.eta: Missing mandatory value"],
    "algo=tpo,": ["algo=tpo,: must be key=value"],
    "+algo=tpo": ["algo: chosen twice; write algo=NAME once"],
    "train=5": ["train=5: train takes the name of a file", "written train.KEY=VALUE"],
    "=3": ["=3: must be key=value"],
    "~algo": ["algo: missing"],
    "~seeds": ["seeds: missing"],
    "~model.name": ["model.name: missing"],
    "~algo.label": ["algo.label: missing", "conf/algo"],
    "env.name=null": ["env.name=null", "letters"],
    "launch=job": ["launch=job", "did you mean joblib?", "serial"],
    "launch=joblib launch.workers=0": ["launch.workers=0", "null or >= 1"],
    "launch=joblib launch.workers=all": ["launch.workers=all: must be a whole number or null"],
    "launch=joblib launch.worker=2": ["launch.worker", "did you mean workers?"],
    "launch=slurm_local launch.workers=-1": ["launch.workers=-1", "null or >= 1"],
    "launch=slurm launch.threads=0": ["launch.threads=0", ">= 1"],
    "+launch.workers=2": ["launch.workers", "allowed: nice, keep_going"],
    "paper=fig03 scale=quik": ["refused: 5 jobs: scale=quik"],
    "algo.objective=dgg": ["algo.objective=dgg", "did you mean dg?"],
}


@pytest.mark.parametrize("args", REFUSED)
def test_bad_input_is_refused_in_one_screen(cli, tmp_path, args):
    code, out = cli(*args.split())
    assert code == 2
    assert "Traceback" not in out and len(out.splitlines()) <= 3
    for text in REFUSED[args]:
        assert text in out
    assert not list(RunStore(tmp_path / "runs").runs())


def test_a_command_in_a_message_can_be_pasted_into_a_shell(cli):
    code, out = cli("algo=tpo,grpo", "env.label=my task")
    assert code == 2 and "python run.py -m algo=tpo,grpo 'env.label=my task' runs_dir=runs" in out


@pytest.mark.parametrize("name", ["my runs", "it's (mine)", "größe = 1"])
def test_a_path_needs_only_the_quotes_of_the_shell(monkeypatch, capsys, tmp_path, name):
    code, _ = command(monkeypatch, capsys, "debug=smoke", f"runs_dir={tmp_path / name}")
    assert code == 0 and list(RunStore(tmp_path / name).runs())
    monkeypatch.chdir(tmp_path)
    code, out = command(monkeypatch, capsys, f"algo_path={name} too")
    assert code == 2 and f"algo_path={name} too: no such folder" in out


def test_a_number_is_a_folder_and_a_label_may_have_brackets(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out = command(monkeypatch, capsys, "debug=smoke", "runs_dir=2026", "algo.label=TPO (mine)")
    assert code == 0 and "TPO (mine)" in out and list(RunStore(tmp_path / "2026").runs())
    code, out = command(monkeypatch, capsys, "-m", "debug=smoke", "runs_dir=2026", "algo=tpo,pg")
    assert code == 0 and len(list(RunStore(tmp_path / "2026").runs())) == 2
    code, out = command(monkeypatch, capsys, "-m", "debug=smoke", "runs_dir=null", "algo=tpo,pg")
    assert code == 2 and "runs_dir=" in out and not (tmp_path / "None").exists()


def test_a_missing_plug_in_is_named_with_its_command(cli, monkeypatch):
    cli("--help")  # Hydra looks for plug-ins once
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], "joblib.yaml")
    code, out = cli("launch=joblib", "debug=smoke")
    assert code == 2
    assert out.strip() == 'launch=joblib needs a plug-in of Hydra: pip install -c constraints.txt -e ".[launch]"'


def test_slurm_is_refused_where_there_is_none(cli, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code, out = cli("launch=slurm", "debug=smoke")
    assert code == 2
    assert "no sbatch" in out and "launch=slurm_local" in out and len(out.splitlines()) == 1


def test_out_of_memory_names_what_to_lower(cli):
    code, out = cli("env=terminal_reversal", "env.batch=1000000000000", "seeds=2", "train.steps=1")
    assert code == 1 and "Traceback" not in out
    assert "out of memory" in out and "env.batch (now 1000000000000)" in out and "env.candidates (now 8)" in out
    assert "train.micro_batch (now null)" in out


@pytest.mark.parametrize("words", [(), ("-m", "algo=tpo,dg")])
def test_unwritable_run_folder_is_refused(monkeypatch, capsys, tmp_path, words):
    (tmp_path / "file").touch()
    code, out = command(monkeypatch, capsys, *words, f"runs_dir={tmp_path / 'file' / 'runs'}")
    assert code == 2
    assert "runs_dir=" in out and "name a writable folder" in out


def test_an_oracle_needs_an_environment_that_has_one(cli, monkeypatch):
    from envs.bandit import SparseBandit
    from envs.base import Spec

    spec = Spec(
        contexts=1, actions=4, samplers={"single": "sampled_actions"}, group_size_settings={}, chance_error=0.75
    )
    monkeypatch.setattr(SparseBandit, "spec", spec)
    code, out = cli("algo=ce")
    assert code == 2
    assert "algo=ce" in out and "oracle" in out and "offers: single" in out


@pytest.mark.parametrize("args", [["--help"], ["-h"]])
def test_help_lists_what_exists_on_one_screen(cli, args):
    code, out = cli(*args)
    assert code == 0 and len(out.splitlines()) <= 40 and max(map(len, out.splitlines())) <= 100
    for name in (*names("algo"), *names("env"), *names("model"), "fig17_dense", "lr_sparsity_bandit", "core"):
        assert name in out


def test_a_command_without_a_word_says_what_to_type(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out = command(monkeypatch, capsys)
    assert code == 0 and "python run.py algo=tpo env=sparse_bandit" in out and not list(tmp_path.iterdir())


TOPICS = {
    "algo": ["tpo_no_anchor", "GRPO without the KL penalty.", "Supervised learning on"],
    "env": ["contextual_bandit", "Figure 3"],
    "optim": ["normalized", "Gradient steps of length lr"],
    "model": ["Qwen/Qwen3-1.7B from the hub"],
    "paper": ["fig10", "figures 10, 11, 14"],
    "suite": ["core", "Fourteen tasks"],
    "plan": ["paper"],
    "train": ["staleness", "number of rollouts"],
    "settings": ["seeds: 20 #", "model_path: null"],
    "algo=tpo": ["eta: 1.0", "std_floor"],
    "env=sparse_bandit": ["arms: 100", "reward_noise"],
    "model=transformer": ["d_model"],
    "optim=normalized": ["lr: 0.1"],
    "launch=joblib": ["workers", "share its cores"],
    "tracker=wandb": ["name: wandb"],
    "paper=fig02": ["paper=fig02 scale=quick", "algo: tpo,dg,grpo,pg"],
    "plan=core": ["- {suite: core"],
}


@pytest.mark.parametrize("topic", TOPICS)
def test_help_tells_the_details_of_a_topic(cli, topic):
    code, out = cli("--help", topic)
    assert code == 0 and all(text in out for text in TOPICS[topic])


def test_help_reads_a_sweep_whose_command_has_no_remark(tmp_path, monkeypatch):
    monkeypatch.setattr(help, "_folder", lambda group: tmp_path)
    (tmp_path / "plain.yaml").write_text("# python run.py paper=plain\n")
    (tmp_path / "short.yaml").write_text("# python run.py paper=short   (2 seeds x 3)\n")
    assert [help._about("paper", name) for name in ("plain", "short")] == ["", "(2 seeds x 3)"]


NO_TOPICS = {"alog": "algo", "algo=tpoo": "tpo", "train=tpo": "no such topic", "paper=fig20": "fig02"}


@pytest.mark.parametrize(("topic", "near"), NO_TOPICS.items())
def test_help_on_what_is_none_is_refused(cli, topic, near):
    code, out = cli("--help", topic)
    assert code == 2 and f"--help {topic}: " in out and near in out


def test_a_run_ends_with_a_table_and_its_paths(cli, tmp_path):
    code, out = cli("seeds=3", "train.steps=5")
    (run,) = RunStore(tmp_path / "runs").runs()
    assert code == 0
    assert "error [95 %]" in out and "to 1 %" in out
    assert str(run.path.relative_to(tmp_path)) in out
    assert run.curve.stat().st_size > 1000 and run.curve.name in out
    assert run.seeds_done() == [0, 1, 2]
    assert run.manifest()["status"] == "done"


def test_finished_seeds_are_skipped_and_new_ones_added(cli, tmp_path):
    cli("seeds=2", "train.steps=5")
    (run,) = RunStore(tmp_path / "runs").runs()
    first = run.frame()
    code, out = cli("seeds=2", "train.steps=5")
    assert code == 0 and "2 of 2 seeds done already" in out
    cli("seeds=5", "train.steps=5")
    assert [batch["seeds"] for batch in run.manifest()["batches"]] == [[0, 1], [2, 3, 4]]
    assert run.frame()[run.frame().seed < 2].reset_index(drop=True).equals(first)


def test_force_recomputes(cli, tmp_path):
    cli("seeds=2", "train.steps=5")
    code, out = cli("seeds=2", "train.steps=5", "force=true")
    (run,) = RunStore(tmp_path / "runs").runs()
    assert code == 0 and "done already" not in out
    assert [batch["seeds"] for batch in run.manifest()["batches"]] == [[0, 1], [0, 1]]
    assert not run.frame().duplicated(["seed", "step", "metric"]).any()


@pytest.mark.parametrize(
    ("force", "said"), [("false", "goes on from here"), ("true", "starts again"), ("True", "starts again")]
)
def test_an_interrupted_command_says_where_it_goes_on(cli, monkeypatch, force, said):
    def interrupt(cfg):
        raise KeyboardInterrupt

    monkeypatch.setattr("launch.command.train", interrupt)
    code, out = cli("debug=smoke", f"force={force}")
    assert code == 130 and f"the same command {said}" in out


def test_the_table_shows_the_seeds_that_were_asked_for(cli):
    cli("seeds=4", "train.steps=3")
    _, out = cli("seeds=[3,1]", "train.steps=3")
    assert "│     2 │" in out


def test_multirun_trains_every_combination(cli, tmp_path):
    code, out = cli("-m", "algo=tpo,grpo,dg,pg", "env=sparse_bandit", "debug=smoke")
    assert code == 0
    assert [run.config()["algo"]["name"] for run in RunStore(tmp_path / "runs").runs()] == ["dg", "grpo", "pg", "tpo"]
    assert "curves.png" in out
    assert out.startswith("4 jobs, 4 to train: about ")
    _, out = cli("-m", "algo=tpo,grpo,dg,pg", "env=sparse_bandit", "debug=smoke")
    assert out.startswith("4 jobs, 0 to train\n")


def test_a_value_that_is_given_twice_is_one_job(cli):
    code, out = cli("-m", "algo=tpo,tpo", "algo.eta=1,1.0,2", "debug=smoke")
    assert code == 0 and out.startswith("2 jobs, 2 to train")
    assert out.count("curve.png") == 2


def test_workers_are_processes_without_a_word_about_the_launcher(cli, tmp_path):
    code, _ = cli("-m", "algo=tpo,dg", "debug=smoke", "launch.workers=2")
    assert code == 0
    threads = max(1, cores() // 2)
    for run in RunStore(tmp_path / "runs").runs():
        assert f"({threads} thread" in run.manifest()["batches"][0]["device"]


def test_a_sweep_file_runs_its_grid_and_gives_way_to_the_command_line(cli, tmp_path):
    code, _ = cli("paper=fig02", "algo=tpo,pg", "debug=smoke")
    assert code == 0
    assert [run.config()["algo"]["name"] for run in RunStore(tmp_path / "runs").runs()] == ["pg", "tpo"]


def test_a_failed_run_is_recorded_and_the_sweep_goes_on(cli, tmp_path, monkeypatch):
    step = Trainer.train_step

    def broken(trainer):
        if trainer.objective.name == "grpo":
            raise RuntimeError("out of luck")
        step(trainer)

    monkeypatch.setattr(Trainer, "train_step", broken)
    code, out = cli("-m", "algo=grpo,tpo", "debug=smoke")
    grpo, tpo = RunStore(tmp_path / "runs").runs()
    assert code == 1
    assert "failed: GRPO on sparse_bandit: RuntimeError: out of luck" in out
    assert grpo.manifest()["status"] == "failed" and "broken" in grpo.traceback.read_text()
    assert tpo.manifest()["status"] == "done"


def test_a_sweep_leaves_out_what_does_not_fit(cli):
    code, out = cli("-m", "algo=grpo,tpo", "env.batch=1", "debug=smoke")
    assert code == 0
    assert "unfit: GRPO on sparse_bandit" in out


def test_a_runs_dir_below_the_home_folder(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    code, _ = command(monkeypatch, capsys, "-m", "algo=tpo", "debug=smoke", "runs_dir=~/runs")
    assert code == 0 and list((tmp_path / "home" / "runs" / "sparse_bandit").glob("tpo/*/metrics.parquet"))
    assert not (tmp_path / "~").exists()
