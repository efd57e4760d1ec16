# nbgrader in the pods of hub-values.yaml: the exchange is a volume that all of them have, the course folder is the instructor's home.
c = get_config()                # noqa: F821
c.CourseDirectory.course_id = "hpml"
c.CourseDirectory.root = "/home/jovyan/course"
c.Exchange.root = "/exchange"
c.ExchangeCollect.check_owner = False           # every pod writes with the same user number
c.Execute.timeout = 600                         # seconds for one cell: a check measures
