"""The interfaces of other projects on our models: scripts that use them need one changed import.

One file a project, named like the package that it replaces.
"""
