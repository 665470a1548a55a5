"""Write the references: `python -m tests.references`."""

from tests.references import FOLDERS, REPOSITORY, make_references

texts = make_references()
for folder in FOLDERS:
    (REPOSITORY / folder).mkdir(exist_ok=True)
    for path in (REPOSITORY / folder).iterdir():
        if path not in texts:
            path.unlink()
for path, text in texts.items():
    path.write_text(text, "utf-8")
