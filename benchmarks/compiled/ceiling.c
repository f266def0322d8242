/* How fast entering and leaving could be at best: pop and append in C, and an awaitable that is done at once. No pool:
   nothing is counted, checked, queued, observed or told. */

#include <Python.h>

typedef struct { PyObject_HEAD PyObject *value; } Done;
typedef struct { PyObject_HEAD PyObject *idle; } Pool;
typedef struct { PyObject_HEAD Pool *pool; PyObject *conn; } Lease;

static PyTypeObject done_type, lease_type, pool_type;

static PyObject *itself(PyObject *self) { return Py_NewRef(self); }

static PyObject *done(PyObject *value)
{
    Done *made = PyObject_New(Done, &done_type);
    if (made != NULL)
        made->value = Py_NewRef(value);
    return (PyObject *)made;
}

static PyObject *done_next(Done *self)
{
    if (self->value != Py_None) /* None is what the interpreter takes the absence of an exception for */
        PyErr_SetObject(PyExc_StopIteration, self->value);
    return NULL;
}

static PySendResult done_send(PyObject *self, PyObject *sent, PyObject **result)
{
    *result = Py_NewRef(((Done *)self)->value);
    return PYGEN_RETURN;
}

static void done_dealloc(Done *self) { Py_DECREF(self->value); PyObject_Free(self); }

static PyAsyncMethods done_async = {.am_await = itself, .am_send = done_send};
static PyTypeObject done_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "Done", .tp_basicsize = sizeof(Done), .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)done_dealloc, .tp_as_async = &done_async, .tp_iter = itself,
    .tp_iternext = (iternextfunc)done_next};

static PyObject *lease_enter(Lease *self, PyObject *none)
{
    PyObject *idle = self->pool->idle;
    Py_ssize_t last = PyList_GET_SIZE(idle) - 1;
    self->conn = Py_NewRef(PyList_GET_ITEM(idle, last));
    PyList_SetSlice(idle, last, last + 1, NULL);
    return done(self->conn);
}

static PyObject *lease_exit(Lease *self, PyObject *const *arguments, Py_ssize_t count)
{
    PyList_Append(self->pool->idle, self->conn);
    Py_CLEAR(self->conn);
    return done(Py_None);
}

static void lease_dealloc(Lease *self) { Py_DECREF(self->pool); Py_XDECREF(self->conn); PyObject_Free(self); }

static PyMethodDef lease_methods[] = {
    {"__aenter__", (PyCFunction)lease_enter, METH_NOARGS},
    {"__aexit__", (PyCFunction)(void (*)(void))lease_exit, METH_FASTCALL},
    {NULL}};
static PyTypeObject lease_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "Lease", .tp_basicsize = sizeof(Lease), .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)lease_dealloc, .tp_methods = lease_methods};

static PyObject *pool_get_connection(Pool *self, PyObject *none)
{
    Lease *lease = PyObject_New(Lease, &lease_type);
    if (lease != NULL) {
        lease->pool = (Pool *)Py_NewRef(self);
        lease->conn = NULL;
    }
    return (PyObject *)lease;
}

static PyObject *pool_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    Pool *self = PyObject_New(Pool, type);
    if (self != NULL)
        self->idle = Py_BuildValue("[s]", "a connection");
    return (PyObject *)self;
}

static PyMethodDef pool_methods[] = {{"get_connection", (PyCFunction)pool_get_connection, METH_NOARGS}, {NULL}};
static PyTypeObject pool_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "Pool", .tp_basicsize = sizeof(Pool), .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = pool_methods, .tp_new = pool_new};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "ceiling", NULL, -1, NULL};

PyMODINIT_FUNC PyInit_ceiling(void)
{
    if (PyType_Ready(&done_type) < 0 || PyType_Ready(&lease_type) < 0 || PyType_Ready(&pool_type) < 0)
        return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made != NULL)
        PyModule_AddObject(made, "Pool", Py_NewRef(&pool_type));
    return made;
}
