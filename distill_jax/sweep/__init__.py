"""Many runs by one command: what a sweep file says, its processes, and what became of them."""
