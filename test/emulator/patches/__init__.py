"""One module for each service that is mended; `apply` puts its functions in the place of the emulator's."""
