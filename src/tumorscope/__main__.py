"""`python -m tumorscope`: the command line."""

from tumorscope.cli import main

if __name__ == "__main__":
    main()
