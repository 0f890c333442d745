"""One module for each service that is mended; `apply` replaces the emulator's functions with its own."""
