"""CustomResourceDefinitions: from a definition to a row of the catalogue. Serves nothing itself.

`DefinitionStrategy` rules over definitions (pass it to `builtin_catalogue`); `CustomResources` keeps the rows.
"""
