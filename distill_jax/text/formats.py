"""How question, reasoning and answer are joined: our own format, papers', that of chat models.

For the question `Q`, the reasoning `R` and the answer `A`:

                 prompt             chain            answer_only
    turns          Q <end of turn>    R \\n#### A      \\n#### A
    fine_tune_cot  Q ###               R --> A          A
    sert           Question: Q Answer:  R So the answer is A.   So the answer is A.
    sert_teacher   Question: Q Answer: Let's think step by step.   (as sert)
    chatml         see messages.py     R \\n#### A      #### A

and then the end of text (in chatml the end of a message). The second is that of Ho et al.
(2022), Large Language Models Are Reasoning Teachers, for GPT-2: class Formatter, templates
ft_cot_token and ft_token, in
https://github.com/itsnamgyu/reasoning-teacher/blob/main/src/data/format.py. Question, reasoning and
answer are stripped there, so that ` ###` and ` -->` are one token of GPT-2's each. Prompt and
target are encoded separately, so no token crosses the border. The others are the two prompts of
self-enhanced reasoning training (https://arxiv.org/abs/2502.12744): a student learns its own
reasoning by one, and then a teacher's by the other.
"""

import dataclasses

MARKER = "####"  # before the answer, in what graders read
ANSWER_MARK = f"\n{MARKER} "


@dataclasses.dataclass(frozen=True)
class TextFormat:
    """The text before, between and after question, reasoning and answer."""

    name: str
    before_question: str
    after_question: str
    question_is_a_turn: bool  # an end of turn closes the prompt
    before_reasoning: str
    before_answer: str  # in a chain, and in the last turn of a dialogue
    before_lone_answer: str  # in answer_only
    after_answer: str
    strips: bool
    messages: bool = False  # every turn has a header, see messages.py

    def question(self, text: str) -> str:
        """The text of a prompt, without the end of turn."""
        return f"{self.before_question}{self.trimmed(text)}{self.after_question}"

    def trimmed(self, text: str) -> str:
        """`text` without white space around it, if the format needs that."""
        return text.strip() if self.strips else text

    def marked(self, text: str, *, lone: bool) -> str:
        """A student's text with `####` before the answer, as graders read it.

        `lone`: in answer_only.

        >>> TURNS.marked("4 + 4 = 8\\n#### 8", lone=False)
        '4 + 4 = 8\\n#### 8'
        >>> FINE_TUNE_COT.marked(" 4 + 4 = 8 --> 8", lone=False)
        ' 4 + 4 = 8 #### 8'
        >>> FINE_TUNE_COT.marked(" 8", lone=True)
        '#### 8'
        >>> SERT.marked(" 4 + 4 = 8 So the answer is 8.", lone=False)
        ' 4 + 4 = 8 #### 8'
        """
        if self.after_answer:
            text = text.removesuffix(self.after_answer)
        mark = (self.before_lone_answer if lone else self.before_answer).strip()
        return text.replace(mark, MARKER) if mark else f"{MARKER}{text}"


TURNS = TextFormat(
    "turns",
    before_question="",
    after_question="",
    question_is_a_turn=True,
    before_reasoning="",
    before_answer=ANSWER_MARK,
    before_lone_answer=ANSWER_MARK,
    after_answer="",
    strips=False,
)
FINE_TUNE_COT = TextFormat(
    "fine_tune_cot",
    before_question="",
    after_question=" ###",
    question_is_a_turn=False,
    before_reasoning=" ",
    before_answer=" --> ",
    before_lone_answer=" ",
    after_answer="",
    strips=True,
)
SERT = TextFormat(
    "sert",
    before_question="Question: ",
    after_question=" Answer:",
    question_is_a_turn=False,
    before_reasoning=" ",
    before_answer=" So the answer is ",
    before_lone_answer=" So the answer is ",
    after_answer=".",
    strips=True,
)
SERT_TEACHER = dataclasses.replace(
    SERT, name="sert_teacher", after_question=" Answer: Let's think step by step."
)
CHATML = TextFormat(
    "chatml",
    before_question="",
    after_question="",
    question_is_a_turn=True,
    before_reasoning="",
    before_answer=ANSWER_MARK,
    before_lone_answer=f"{MARKER} ",
    after_answer="",
    strips=True,
    messages=True,
)
FORMATS = {each.name: each for each in (TURNS, FINE_TUNE_COT, SERT, SERT_TEACHER, CHATML)}
