"""Students for other programs: Hugging Face format, llama.cpp, a program without this project."""
