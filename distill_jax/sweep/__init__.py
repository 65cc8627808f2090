"""Many runs with one command: the sweep file, its processes, and their outcomes."""
