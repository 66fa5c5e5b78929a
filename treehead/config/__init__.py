"""The checked configuration, what each stage uses of it, and the code that a script reaches."""
