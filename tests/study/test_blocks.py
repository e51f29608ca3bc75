"""The host as blocks, what fills its slots, what components show of themselves: kept by a study, drawn by the page."""

from __future__ import annotations

import json
import shutil
import textwrap

import pytest
import torch
from fake_answer import HOSTILE, answer
from torch import nn

import dopant as dp
from dopant.datasets.source import load_source
from dopant.panels import Bars, Heat, Images, Panel, Table, Text
from dopant.study import exhibits, hosted
from dopant.study.folder import read_sealed, seal
from dopant.study.report import flow, page, pictures, slots

RECIPE = dp.Recipe(batch=400, epochs=2)


class Shows(nn.Linear, dp.Lifecycle):
    """A linear map that shows its weights, how large its inputs are, and what else there is to show."""

    def panels(self, inputs):
        (x,) = inputs[0]
        return [
            dp.Panel(
                "Weights", Heat.of(self.weight[:4, :6], signed=True, unit="weight"), Bars.of(x.norm(dim=1)),
                Images.of(self.weight[:3].reshape(3, 1, -1), ["a", "<b>", "c"], signed=True),
                Table.of(["name", "value"], [["<script>alert(1)</script>", 1.25]]), Text.of("one\n  two"),
                caption="<img src=x onerror=alert(1)>",
            )
        ]  # fmt: skip


class Fails(nn.Linear, dp.Lifecycle):
    def panels(self, inputs):
        torch.rand(3)
        raise RuntimeError("no panel today")


@dp.component("shows-linear", fills=nn.Linear)
def shows_linear(old: nn.Linear, signature: dp.Signature) -> nn.Module:
    """Shows itself.

    With a <second> paragraph.
    """
    return Shows(old.in_features, old.out_features)


@dp.component("fails-linear", fills=nn.Linear)
def fails_linear(old: nn.Linear, signature: dp.Signature) -> nn.Module:
    """Fails to show itself."""
    return Fails(old.in_features, old.out_features)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A ladder with what shows itself, a circuit and what fails to, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOPANT_KERNEL", "off")
        ladder = dp.Ladder({"name": "mlp", "hidden": [12, 8]}).level(**{"layers.0": "shows-linear"})
        ladder = ladder.level(head={"component": "circuit", "qubits": 2, "layers": 1})
        ladder = ladder.level(**{"layers.1": "fails-linear"})
        return dp.run(ladder, data=load_source("digits"), recipe=RECIPE, replicates=1, controls=False,
                      out=tmp_path_factory.mktemp("blocks") / "s", workers=1, progress=None)  # fmt: skip


def test_the_folder_keeps_the_modules_in_the_order_in_which_they_run(study):
    kept = read_sealed(study.folder / hosted.FILE)
    first = {m["name"]: m["first"] for m in kept["modules"] if m["first"] is not None}
    model = dp.host("mlp", hidden=[12, 8], in_features=64, classes=10)
    ran: list[str] = []
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda m, a, name=name: ran.append(name))
    model.eval()(torch.zeros(2, 1, 8, 8))
    assert [n for n in dict.fromkeys(ran) if n] == sorted(first, key=lambda n: first[n])
    assert kept["slots"]["head"]["parameters"] == 8 * 10 + 10
    assert kept["slots"]["head"]["signature"] == [["float32(batch, 8)", "float32(batch, 10)"]]
    assert kept["slots"]["head"]["flops"] == 2 * 8 * 10
    assert kept["components"]["shows-linear"]["doc"] == "Shows itself.\n\nWith a <second> paragraph."


def test_a_block_is_a_slot_or_the_largest_part_without_one():
    modules = [("stem", 1, 9), ("layer1", 2, 20), ("layer1.0", 3, 10), ("layer1.1", 4, 10), ("layer2", 5, 40),
               ("layer2.0", 6, 20), ("layer2.0.conv", 7, 15), ("layer2.0.norm", 8, 5), ("layer2.1", 9, 20),
               ("head", 10, 3), ("spare", None, 1)]  # fmt: skip
    host = {"modules": [
        {"name": n, "class": "M", "parameters": p, "calls": int(f is not None), "first": f} for n, f, p in modules
    ]}  # fmt: skip
    found = flow.blocks(host, ["layer2.0.conv"])
    assert [b.names[0] for b in found] == [
        "stem",
        "layer1",
        "layer2.0.conv",
        "layer2.0.norm",
        "layer2.1",
        "head",
        "spare",
    ]
    assert [b.modules for b in found] == [1, 3, 1, 1, 1, 1, 1] and [b.slot for b in found].index(True) == 2
    few = flow.blocks(host, ["layer2.0.conv"], most=4)
    assert [b.names for b in few] == [
        ("stem", "layer1"), ("layer2.0.conv",), ("layer2.0.norm", "layer2.1", "head"), ("spare",)
    ]  # fmt: skip
    assert sum(b.parameters for b in few) == 9 + 20 + 15 + 5 + 20 + 3 + 1


def test_a_list_of_layers_that_run_before_and_after_a_slot_is_drawn_in_its_parts():
    names = [("norms", None), ("norms.0", 1), ("norms.1", 3), ("conv", 2)]
    host = {"modules": [
        {"name": n, "class": "M", "parameters": 1, "calls": int(f is not None), "first": f} for n, f in names
    ]}  # fmt: skip
    assert [b.names[0] for b in flow.blocks(host, ["conv"])] == ["norms.0", "conv", "norms.1"]
    assert [b.names[0] for b in flow.blocks(host, [])] == ["norms", "conv"]


def test_a_stock_transformer_encoder_is_a_few_blocks():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.Sequential(nn.Linear(4, 16), nn.TransformerEncoder(layer, 12), nn.Linear(16, 3))
    first, calls = hosted.order_of(model, torch.zeros(2, 5, 4))
    host = {"modules": [
        {"name": n, "class": type(m).__name__, "parameters": 0, "calls": calls.get(m, 0), "first": first.get(m)}
        for n, m in model.named_modules() if n
    ]}  # fmt: skip
    found = flow.blocks(host, ["1.layers.7.linear1"])
    assert len(found) <= flow.MOST and [b.names for b in found if b.slot] == [("1.layers.7.linear1",)]
    titles = [flow.title(b) for b in found]
    assert titles[0] == "0" and "1.layers.0 … 1.layers.6" in titles and "1.layers.8 … 1.layers.11" in titles
    assert [b.place for b in found] == sorted(b.place for b in found)


def test_the_page_links_every_block_of_a_slot_to_details_that_are_there(study):
    text = page(study)
    shown = slots.host(study)
    assert shown is not None and [s.name for s in shown.slots] == ["layers.0", "layers.1", "head"]
    for one in shown.slots:
        assert text.count(f'href="#slot-{one.number}"') == 2 and text.count(f'id="slot-{one.number}"') == 1
        for filling in one.fillings:
            assert text.count(f'href="#{filling.id}"') == 2 and text.count(f'id="{filling.id}"') == 1
    assert "in the order in which they" in text and "With a &lt;second&gt; paragraph." in text


def test_a_component_shows_its_panels_and_one_that_fails_is_told_and_harms_nothing(study):
    assert study.counts["failed"] == 0
    first = slots.host(study).slots[0].fillings[0]
    (panel,) = first.panels
    assert panel.title == "Weights" and [p.kind for p in panel.pictures] == ["heat", "svg", "images", "table", "text"]
    assert first.source == "cell level 1, replicate 0"
    trial = study.trials.query("cell == 'level 1' and replicate == 0")["trial"].iloc[0]
    weight = study.model(trial).get_submodule("layers.0").weight
    kept = exhibits.read(study.folder, trial)
    torch.testing.assert_close(torch.tensor(kept["panels"][0]["pictures"][0]["values"]), weight[:4, :6].detach())
    failing = next(f for s in slots.host(study).slots for f in s.fillings if f.name == "fails-linear")
    assert failing.panels == [] and "RuntimeError: no panel today" in failing.problems[0]
    text = page(study)
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text and "<img src=x" not in text


def test_the_details_of_a_circuit_hold_its_drawing_its_ledger_and_its_gradients(study):
    head = next(s for s in slots.host(study).slots if s.name == "head")
    filling = head.fillings[0]
    trial = study.trials.query("cell == 'level 2' and replicate == 0")["trial"].iloc[0]
    layer = next(m for m in study.model(trial).modules() if type(m).__name__ == "CircuitLayer")
    assert filling.circuits == [layer.circuit.draw()]
    costs = {f.label: f.value for f in filling.costs}
    assert costs["qubits"] == "2" and costs["gates"] == repr(len(layer.circuit))
    (row,) = study.gradients.query("cell == 'level 2'").to_dict("records")
    assert {f.label: f.value for f in filling.gradients}["variance"] == repr(row["variance"])


def test_what_a_trial_shows_changes_neither_the_network_nor_any_draw():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), Shows(64, 8), nn.Dropout(0.5), Fails(8, 10)).train()
    model[3].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes, draws = [m.training for m in model.modules()], torch.get_rng_state()
    split = load_source("digits").draw(dp.Streams(0, 0), None, None).validation
    found = exhibits.gather(model, {"2": {}}, split, 8)
    assert [p["path"] for p in found["panels"]] == ["2"] and len(found["problems"]) == 1
    assert found["slots"]["2"]["flops"] == 2 * 64 * 8 and found["slots"]["2"]["trainable"] == 65 * 8
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert modes == [m.training for m in model.modules()] and torch.equal(draws, torch.get_rng_state())


def test_every_arm_logs_the_gradient_of_every_slot_that_the_study_swaps(study):
    wide = study.metrics.query("replicate == 0 and epoch == 2").set_index("cell")
    assert (wide.loc["level 0", ["grad_norm_layers.0", "grad_norm_layers.1", "grad_norm_head"]] > 0).all()


def test_an_older_study_is_measured_anew_and_one_that_cannot_be_says_why(tmp_path):
    design = dp.Ladder({"name": "mlp", "hidden": [12]}).level(head="low-rank")
    asked = dp.Study(design, data="digits", recipe=RECIPE)
    found, why = hosted.read(tmp_path, asked)
    assert why == "" and found["slots"]["head"]["class"] == "Linear"
    found, why = hosted.read(tmp_path, asked.with_(data="mnist"))
    assert found is None and "would need its data" in why
    (tmp_path / hosted.FILE).write_bytes(seal(json.dumps({"format": 1}))[:-5])
    found, why = hosted.read(tmp_path, asked)
    assert found is None and "not drawn" in why


def test_a_damaged_or_foreign_description_costs_the_page_its_drawing_only(study, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(study.folder, copy)
    (copy / hosted.FILE).write_bytes(seal(json.dumps({"format": 1, "modules": [{"name": 3}]})))
    shown = slots.host(_within(study, copy))
    assert shown is not None and "not as expected" in shown.why and shown.slots == []


def _within(study, folder):
    from types import SimpleNamespace

    return SimpleNamespace(folder=folder, config=study.config, cells=study.cells, rows=study.rows)


def test_answers_without_a_folder_have_no_such_section():
    assert slots.host(answer()) is None and 'id="host"' not in page(answer())


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: ascii(t[:12]))
def test_hostile_names_stay_text_in_panels_and_blocks(text):
    from dopant.study.report import blocks

    given = Panel(
        text,
        Heat.of([[1.0, 2.0]], [text], [text, text], unit=text),
        Bars.of([1.0], [text], unit=text),
        Images.of(torch.ones(1, 2, 2), [text]),
        Table.of([text], [[text]]),
        Text.of(text),
        caption=text,
    )
    shown = pictures.panel(json.loads(json.dumps(given.to_json())))
    drawn = "".join(str(p.picture) for p in shown.pictures if p.picture is not None)
    block = flow.Block((text,), text, 1, 1, 1, True)
    mark = blocks.Marked(1, text, 0, ((text, "slot-1-1"),))
    for layout in (blocks.WIDE, blocks.NARROW):
        drawn += str(blocks.drawing([block], {text: mark}, layout, text))
    assert "<script" not in drawn and "<img" not in drawn and "\x00" not in drawn and 'href="#slot-1"' in drawn


@pytest.mark.parametrize(
    "broken",
    [
        {"pictures": []},
        {"kind": "x"},
        {"pixels": ["AAAA"]},
        {"height": 10**9},
        {"values": "no"},
        {"values": [[1], [1, 2]]},
    ],
    ids=str,
)
def test_a_panel_that_no_component_could_have_made_is_refused(broken):
    images, heat = Panel("t", Images.of(torch.zeros(1, 2, 3))), Panel("t", Heat.of([[1.0]]))
    data = (heat if "values" in broken else images).to_json()
    if "pictures" in broken:
        data |= broken
    else:
        data["pictures"][0] |= broken
    with pytest.raises(dp.ConfigError, match="panel"):
        Panel.from_json(data)


def test_panels_are_bounded_and_say_what_they_leave_out():
    images = Images.of(torch.arange(70 * 200 * 130.0).reshape(70, 200, 130))
    assert (len(images.pixels), images.height, images.width, images.left_out) == (64, 50, 44, 6)
    assert Heat.of(torch.zeros(100, 70)).left_out == 100 * 70 - 64 * 64 and Bars.of(torch.zeros(65)).left_out == 1
    assert Text.of("x" * 20_001).left_out == 1
    for wrong in (lambda: Images.of(torch.zeros(2, 2)), lambda: Heat.of([1.0]), lambda: Bars.of([]), lambda: Panel("t"),
                  lambda: Bars.of([1j]), lambda: Table.of(["a"], [[1, 2]]), lambda: Panel("t", "<b>")):  # fmt: skip
        with pytest.raises(dp.ConfigError):
            wrong()


def test_pictures_have_the_colours_that_their_scale_says():
    import base64
    import io

    from PIL import Image

    shown = pictures.shown(Images.of(torch.tensor([[[-2.0, 0.0, 2.0]]]), signed=True), "t")
    ((uri, _),) = shown.figures
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert image.size == (3, 1) and shown.scale == "blue −2, white 0, orange 2"
    left, middle, right = (image.getpixel((x, 0)) for x in range(3))
    assert (left, right) == (pictures.BLUE, pictures.ORANGE) and min(middle) >= 253


def test_a_component_of_a_users_own_file_shows_itself_where_the_file_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setenv("DOPANT_KERNEL", "off")
    file = tmp_path / "my_panels.py"
    file.write_text(
        textwrap.dedent('''
        from torch import nn

        import dopant as dp
        from dopant.panels import Bars


        class Codes(nn.Linear, dp.Lifecycle):
            def panels(self, inputs):
                return [dp.Panel("Row norms", Bars.of(self.weight.norm(dim=1)), caption="One bar a class.")]


        @dp.component("my-codes", fills=nn.Linear)
        def my_codes(old, signature):
            """A linear map of my own."""
            return Codes(old.in_features, old.out_features)
    ''')
    )
    recipe = dp.Recipe(batch=400, epochs=1)
    ladder = dp.Ladder({"name": "mlp", "hidden": [8]}).level(head="my-codes")
    dp.run(ladder, data=load_source("digits"), recipe=recipe, replicates=1, controls=False, with_files=[file],
           workers=1, out=tmp_path / "s", progress=None)  # fmt: skip
    from dopant import registry

    registry.components.forget("my-codes")  # as in a process that never loaded the file
    study = dp.load(tmp_path / "s")
    (filling,) = slots.host(study).slots[0].fillings
    assert filling.doc == "A linear map of my own." and [p.title for p in filling.panels] == ["Row norms"]
    assert "One bar a class." in page(study)
