"""How question, reasoning and answer are joined: our own format, a paper's, that of chat models.

For the question `Q`, the reasoning `R` and the answer `A`:

                 prompt             chain            answer_only
    turns          Q <end of turn>    R \\n#### A      \\n#### A
    fine_tune_cot  Q ###               R --> A          A
    chatml         see messages.py     R \\n#### A      #### A

and then the end of text (in chatml the end of a message). The second is that of Ho et al.
(2022), Large Language Models Are Reasoning Teachers, for GPT-2: class Formatter, templates
ft_cot_token and ft_token, in
https://github.com/itsnamgyu/reasoning-teacher/blob/main/src/data/format.py. Question, reasoning and
answer are stripped there, so that ` ###` and ` -->` are one token of GPT-2's each. Prompt and
target are encoded separately, so no token crosses the border.
"""

import dataclasses

MARKER = "####"  # before the answer, in what graders read
ANSWER_MARK = f"\n{MARKER} "


@dataclasses.dataclass(frozen=True)
class TextFormat:
    """The text before, between and after question, reasoning and answer."""

    name: str
    after_question: str
    question_is_a_turn: bool  # an end of turn closes the prompt
    before_reasoning: str
    before_answer: str  # in a chain, and in the last turn of a dialogue
    before_lone_answer: str  # in answer_only
    strips: bool
    messages: bool = False  # every turn has a header, see messages.py

    def question(self, text: str) -> str:
        """The text of a prompt, without the end of turn."""
        return f"{self.trimmed(text)}{self.after_question}"

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
        """
        mark = (self.before_lone_answer if lone else self.before_answer).strip()
        return text.replace(mark, MARKER) if mark else f"{MARKER}{text}"


TURNS = TextFormat(
    "turns",
    after_question="",
    question_is_a_turn=True,
    before_reasoning="",
    before_answer=ANSWER_MARK,
    before_lone_answer=ANSWER_MARK,
    strips=False,
)
FINE_TUNE_COT = TextFormat(
    "fine_tune_cot",
    after_question=" ###",
    question_is_a_turn=False,
    before_reasoning=" ",
    before_answer=" --> ",
    before_lone_answer=" ",
    strips=True,
)
CHATML = TextFormat(
    "chatml",
    after_question="",
    question_is_a_turn=True,
    before_reasoning="",
    before_answer=ANSWER_MARK,
    before_lone_answer=f"{MARKER} ",
    strips=True,
    messages=True,
)
FORMATS = {each.name: each for each in (TURNS, FINE_TUNE_COT, CHATML)}
