"""Problems, gold annotations and graders, one module per task."""
