import os
import sys


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")
    django.setup()
    from bench.load.command import Command

    Command().run_from_argv([sys.argv[0], "bench.load", *sys.argv[1:]])


if __name__ == "__main__":
    main()
