"""Floor 0: frozen value types, errors that say what to do, atomic files and hashes. Imports nothing of ours."""
