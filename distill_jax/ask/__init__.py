"""Questions typed by a person or sent by a program: terminal, web page, OpenAI's interface."""
