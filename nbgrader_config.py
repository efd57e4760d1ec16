# nbgrader in this folder: solutions/ are the sources of the assignments, notebooks/ the release, both made by `hpml build`.
# `nbgrader generate_assignment 04-conv-gemm --force` makes the very same student's notebook and fills the gradebook.
from pathlib import Path

from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import ClearSolutions

from hpml.build.notebook import ClearAnswers

root = Path(__file__).resolve().parent
c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "hpml"
c.CourseDirectory.root = str(root)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "notebooks"
c.CourseDirectory.db_url = f"sqlite:///{root / 'gradebook.db'}?timeout=60"      # seconds to wait for another writer
c.GenerateAssignment.preprocessors = [
    ClearAnswers if step is ClearSolutions else step for step in GenerateAssignment.preprocessors.default()
]
c.Execute.timeout = 600                                                          # seconds for one cell: a check measures
