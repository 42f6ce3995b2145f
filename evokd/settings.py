"""The knobs of a run, in groups: classes of at most twelve documented fields.

Knows nothing of files or models; `evokd.task` reads these groups out of task.yaml.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from evokd.paths import expanded

SIDE_BY_SIDE = 32


ArmName = Literal[
    "evokd", "static", "pgkd", "auggpt", "zerogen", "sungen", "eda", "pool", "pool-random",
    "seed-only",
]  # fmt: skip
"""Ways to spend the teacher's tokens; `evokd.arms` tells them apart."""
FEEDBACK: tuple[ArmName, ...] = ("evokd", "pgkd")
"""Those that have texts written after the student's mistakes."""


class Group(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class TeacherSettings(Group):
    """The language model that analyses, writes and labels."""

    model: str = Field(
        "demo",
        description="'demo', the path of a GGUF file, hf:owner/repo:pattern.gguf for one from the"
        " hub (hf:owner/repo@revision:pattern.gguf), or a server's address, such as"
        " http://127.0.0.1:8080/v1 or http://127.0.0.1:8080/v1#MODEL where it has several models"
        " (its key: EVOKD_API_KEY)",
    )
    context: int = Field(4096, ge=256, description="tokens of context, shared by all sequences")
    sequences: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        SIDE_BY_SIDE,
        description="conversations side by side (of a server: requests at once); auto measures what"
        " is fastest here",
    )
    threads: int = Field(0, ge=0, description="CPU threads; 0 means the cores that it may use")
    gpu_layers: Annotated[int, Field(ge=-1)] | Literal["auto"] = Field(
        "auto", description="layers on a GPU; auto or -1 means all, where there is one"
    )
    temperature: float = Field(0.9, ge=0, le=2, description="of analysing and writing")
    top_p: float = Field(0.95, gt=0, le=1, description="nucleus of analysing and writing")
    max_tokens: int = Field(400, ge=16, description="longest reply, in tokens")
    structure: bool = Field(True, description="hold written texts to the JSON that is asked for")

    @field_validator("sequences", "gpu_layers", mode="wrap")
    @classmethod
    def _number_or_auto(
        cls, value: Any, check: ValidatorFunctionWrapHandler, field: ValidationInfo
    ) -> Any:
        try:
            return check(value)
        except ValidationError:  # one complaint, where pydantic has one for each form
            fits = "from 1 to 256" if field.field_name == "sequences" else "from -1"
            raise ValueError(f"must be auto or a whole number {fits}") from None

    @property
    def side_by_side(self) -> int:
        """The number of `sequences`; for auto the default, which what is measured replaces."""
        return SIDE_BY_SIDE if self.sequences == "auto" else self.sequences

    @property
    def remote(self) -> bool:
        """Whether the model is behind a server's address."""
        return self.model.startswith(("http://", "https://"))

    @property
    def named(self) -> str:
        """The model's name; of a file its own, without where it lies."""
        known = self.remote or self.model.startswith("hf:")
        return self.model if known else Path(self.model).name


class StudentSettings(Group):
    """The small encoder that is distilled."""

    model: str = Field("minilm", description="'minilm', a model folder or a hub id")
    epochs: int = Field(3, ge=1, description="passes over the kept texts in a round")
    final_epochs: int = Field(4, ge=1, description="passes of the final training")
    batch_size: int = Field(16, ge=1, description="texts in a step")
    learning_rate: float = Field(5e-5, gt=0, description="peak of the linear schedule")
    max_length: int = Field(128, ge=8, le=512, description="tokens of a text that are read")
    soft: float = Field(0.5, ge=0, le=1, description="teacher's share of a target; not for ner")
    keep: float = Field(
        0.3, ge=0, le=1, description="share of the starting weights kept; nothing for ner"
    )
    layers: int = Field(
        0, ge=0, description="encoder layers of the final student, distilled from all; 0 keeps all"
    )
    words: int = Field(
        0, ge=0, description="frequent tokens it keeps beside those of its texts; 0 keeps all"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train")
    threads: int = Field(0, ge=0, description="CPU threads; 0 means all that this process may use")

    @property
    def encoder(self) -> str:
        """The model's name; of a folder its own, for where that lies is nobody else's business."""
        folder = expanded(self.model)
        return folder.name if folder.is_absolute() else self.model


class LoopSettings(Group):
    """The EvoKD loop (Liu et al. 2024, arXiv 2403.06414, figure 2) and its counts.

    What the paper leaves open, and what stands here, is told in the README ("How a round works").
    """

    rounds: int = Field(
        6,
        ge=0,
        description="rounds of feedback after every label is covered (EvoKD: a preset number)",
    )
    hard: int = Field(
        4, ge=0, description="hard texts asked for in a conversation (EvoKD, figure 2, shows 2)"
    )
    easy: int = Field(
        2,
        ge=0,
        description="easy texts asked for in a conversation (EvoKD, figure 2, shows 2); 0 is its"
        " ablation study's w/o easy samples",
    )
    conversations: int = Field(
        8, ge=1, description="feedback groups a round, side by side (EvoKD, figure 2, shows one)"
    )
    cover: int = Field(
        40,
        ge=1,
        description="texts a label asked for before the first feedback (EvoKD + Init, with new"
        " texts in place of paraphrases)",
    )
    quota: int = Field(2, ge=0, description="conversations a round for the weakest labels")
    pool: int = Field(
        16,
        ge=0,
        description="unlabelled texts labelled a round, one of each group of the least sure",
    )
    repeat: int = Field(
        2,
        ge=1,
        description="how often a round's training holds its new texts (EvoKD's repeated batch), the"
        " first round's but with sequential once; 1 is without it",
    )
    anchor: int = Field(
        3,
        ge=1,
        description="how often each training holds seeds and definitions (sequential: the first)",
    )
    arm: ArmName = Field("evokd", description="how the tokens are spent: the method or a control")
    training: Literal["cumulative", "sequential"] = Field(
        "cumulative",
        description="each round from the pretrained weights on all that is kept, or from the"
        " student so far on the new texts alone (EvoKD, figure 2: evaluation, then training)",
    )
    seed: int = Field(0, ge=0, description="of every random choice (EvoKD, set-up: 1 to 5)")


class PaperSettings(Group):
    """What is asked and shown after EvoKD (Liu et al. 2024, arXiv 2403.06414).

    Each is an element of its figure 2, or what its ablation study leaves out, as a switch.
    """

    analysis: bool = Field(
        True,
        description="have mistakes analysed before texts are asked for (EvoKD, figure 2: weakness"
        " analysis)",
    )
    correct: bool = Field(
        True,
        description="show right answers beside the mistakes (EvoKD, ablation study: w/o correct"
        " samples)",
    )
    separation: bool = Field(
        True,
        description="label hard and easy texts in a request of its own, not where they are written"
        " (EvoKD, ablation study: w/o separation); false is for classification alone",
    )
    review: int = Field(
        2,
        ge=0,
        description="with training: sequential, every so many rounds earlier texts are trained on"
        " again, seeds among them (EvoKD, ablation study: w/o review history); 0 is never",
    )
    review_texts: int = Field(
        0,
        ge=0,
        description="how many earlier texts a review has, drawn anew (EvoKD leaves it open); 0 is"
        " as many as the round has new ones",
    )
    init: Literal["cover", "paraphrase", "none"] = Field(
        "cover",
        description="the start: new texts of every label, AugGPT's paraphrases of the seeds"
        " (EvoKD + Init), or the seeds alone (plain EvoKD)",
    )
    empty_wrong: Literal["cover", "least-sure"] = Field(
        "cover",
        description="a round of the arm evokd after no mistake: new texts of the weakest labels, or"
        " figure 2's questions all the same, about the right answers that the student was least"
        " sure of (EvoKD leaves it open)",
    )


class MethodSettings(PaperSettings):
    """What is asked and shown: EvoKD's elements, and what was added to them.

    Of EvoKD (arXiv 2403.06414): see `PaperSettings`. From neighbours: report (PGKD,
    arXiv 2411.05045), demonstrations (LLMaAA, arXiv 2310.19596), attributes (AttrPrompt, arXiv
    2306.15895), noise (FreeAL, arXiv 2311.15614; confident learning, arXiv 1911.00068), calibrate
    (batch calibration, arXiv 2309.17249). Of nobody else: relabel, trust.
    """

    second_opinion: bool = Field(
        True, description="ask for labels twice, in two label orders, and drop what disagrees"
    )
    calibrate: bool = Field(
        True,
        description="take out of the teacher's labels what it says whatever the text (batch"
        " calibration); classification alone",
    )
    relabel: bool = Field(
        False,
        description="keep a text that was written for one label and given another, as what it was"
        " given, instead of dropping it: for a teacher that labels better than it writes",
    )
    trust: bool = Field(
        True,
        description="in the final training, count the teacher's texts by how likely their label is"
        " right, and every label alike (classification); where its labels are hardly better than"
        " chance, and no gold dev can tell, end the loop and train on the seeds alone"
        " (classification, ner)",
    )
    report: bool = Field(
        False, description="show how well each of the weakest labels does (PGKD's report)"
    )
    demonstrations: int = Field(
        0,
        ge=0,
        le=16,
        description="similar labelled texts shown where a text is labelled (LLMaAA); not for"
        " multilabel",
    )
    attributes: bool = Field(
        False,
        description="ask once for topics, styles and speakers of such texts, and write by them, in"
        " several lengths (AttrPrompt)",
    )
    noise: Literal["none", "mixture", "out-of-fold"] = Field(
        "none",
        description="drop texts whose label is likely wrong before the final training: by two"
        " components of the losses (FreeAL) or by students that did not see them; not with"
        " training: sequential, which has none",
    )


class BudgetSettings(Group):
    """What the loop may spend; it stops at the first cap. None is no cap.

    The texts that a run begins with take half of it at most, and the rest has them labelled. Texts
    for the gate, export and latency come after the loop and are outside the budget.
    """

    tokens: int | None = Field(
        None, ge=1, description="prompt and output of every request, scoring included"
    )
    minutes: float | None = Field(None, gt=0, description="of the run so far, every attempt")
    examples: int | None = Field(None, ge=1, description="training texts that are kept")


class SelectionSettings(Group):
    """Who decides which rounds are rolled back, and when to stop."""

    by: Literal["auto", "teacher", "gold"] = Field(
        "auto", description="your dev file (gold), held-out written texts (teacher), or gold if any"
    )
    texts: int = Field(16, ge=1, description="texts a label held out for a teacher-made dev")
    patience: int = Field(4, ge=1, description="rounds without a better dev score before the end")
    tolerance: float = Field(
        0.03, ge=0, description="a round whose dev macro F1 falls by more is rolled back"
    )


class ExportSettings(Group):
    """How the student becomes files that serve."""

    gate_texts: int = Field(500, ge=20, description="generated texts, kept out of training")
    latency_texts: int = Field(100, ge=10, description="texts of the latency table")
    opset: int = Field(17, ge=14, le=22, description="ONNX operator set")
    exporter: Literal["auto", "optimum", "torch"] = Field(
        "auto", description="what writes ONNX; auto is optimum where it is installed"
    )
    target: Literal["auto", "vnni", "avx512", "avx2", "arm64"] = Field(
        "auto", description="the processor INT8 is made for; auto is this machine's"
    )
    nano: bool = Field(True, description="also distil a nano student, the baseline to beat")
    half: bool = Field(False, description="also write a half-precision file, for GPUs")
    unanswered: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the dev texts, the least sure, that set the score below which the"
        " student served gives no label at all",
    )
