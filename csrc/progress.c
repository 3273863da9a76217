/* progress.c -- asks a job how far it is.

   Must not know what shows it. */

#define PY_SSIZE_T_CLEAN
#include "progress.h"

PyObject *
progress_of(struct crew *crew, struct job *job)
{
    if (job == NULL || crew_is_forked(crew) || helm_is_mine(&crew->helm))
        Py_RETURN_NONE;
    job_keep(job); /* another thread may drop it before we get the helm */
    crew_take_helm(crew);
    struct job_progress progress = job_progress(job);
    job_release(job);
    crew_leave_helm(crew);
    unsigned long long completed = progress.completed, total = progress.total;
    if (progress.total == SCHEDULE_UNKNOWN)
        return Py_BuildValue("KOi", completed, Py_None, progress.busy);
    return Py_BuildValue("KKi", completed, total, progress.busy);
}

int
progress_show(struct crew *crew, struct job *job, PyObject *show)
{
    PyObject *numbers = progress_of(crew, job);
    PyObject *shown = NULL;
    if (numbers == Py_None)
        shown = Py_NewRef(Py_None);
    else if (numbers != NULL)
        shown = PyObject_CallObject(show, numbers);
    Py_XDECREF(numbers);
    if (shown == NULL)
        crew_tell_interrupted(crew);
    Py_XDECREF(shown);
    return shown == NULL ? -1 : 0;
}
