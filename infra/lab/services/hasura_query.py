"""Turns the queries that the lab uses (list, by key, count) into SQL."""

from __future__ import annotations

from typing import Any

from graphql import FieldNode, GraphQLSyntaxError, OperationDefinitionNode, parse
from graphql.utilities import value_from_ast_untyped
from psycopg import sql

COMPARE = {
    "_eq": "=",
    "_neq": "<>",
    "_gt": ">",
    "_lt": "<",
    "_gte": ">=",
    "_lte": "<=",
    "_like": "LIKE",
    "_ilike": "ILIKE",
}
Table = tuple[str, str, dict[str, str], list[str]]
Statement = tuple[sql.Composable, list[Any]]


class QueryError(Exception):
    """The query cannot be answered; the message and path are Hasura's."""

    def __init__(self, message: str, path: str = "$", code: str = "validation-failed") -> None:
        super().__init__(message)
        self.path, self.code = path, code


def read(text: str, variables: dict[str, Any]) -> list[tuple[str, FieldNode, dict[str, Any]]]:
    """Return answer key, node and arguments of each root field of a query."""
    try:
        document = parse(text)
    except GraphQLSyntaxError as error:
        raise QueryError(f"not a valid graphql query: {error.message}", "$.query") from error
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    if len(operations) != 1 or operations[0].operation.value != "query":
        raise QueryError("exactly one query has to be present")
    found = []
    for node in operations[0].selection_set.selections:
        if not isinstance(node, FieldNode):
            raise QueryError("fragments are not supported here")
        arguments = {a.name.value: value_from_ast_untyped(a.value, variables) for a in node.arguments}
        found.append((node.alias.value if node.alias else node.name.value, node, arguments))
    return found


def columns_of(node: FieldNode) -> list[FieldNode]:
    """Return the selected fields below a node."""
    selections = node.selection_set.selections if node.selection_set else ()
    return [one for one in selections if isinstance(one, FieldNode)]


def table_and_kind(field: str, tables: dict[str, Table]) -> tuple[str, str]:
    """Return the table that a root field reads, and how."""
    if field in tables:
        return field, "list"
    for ending, kind in (("_by_pk", "one"), ("_aggregate", "count")):
        if field.endswith(ending) and field.removesuffix(ending) in tables:
            return field.removesuffix(ending), kind
    raise QueryError(f"field '{field}' not found in type: 'query_root'", f"$.selectionSet.{field}")


def selected(node: FieldNode, name: str, columns: dict[str, str]) -> sql.Composable:
    """Return the columns that a field asks for."""
    chosen = []
    for field in columns_of(node):
        if field.name.value not in columns:
            path = f"$.selectionSet.{name}.selectionSet.{field.name.value}"
            raise QueryError(f"field '{field.name.value}' not found in type: '{name}'", path)
        label = field.alias.value if field.alias else field.name.value
        chosen.append(sql.SQL("{} AS {}").format(sql.Identifier(field.name.value), sql.Identifier(label)))
    if not chosen:
        raise QueryError(f"missing selection set for '{name}'")
    return sql.SQL(", ").join(chosen)


def statement(node: FieldNode, arguments: dict[str, Any], tables: dict[str, Table]) -> tuple[str, Statement]:
    """Return how to read the answer (``list``, ``one``, ``count``) and the SQL of one root field."""
    name, kind = table_and_kind(node.name.value, tables)
    schema, table, columns, key = tables[name]
    source = sql.Identifier(schema, table)
    if kind == "one":
        arguments = {"where": {column: {"_eq": arguments.get(column)} for column in key}}
    condition, values = where(arguments.get("where") or {}, columns)
    if kind == "count":
        return kind, (sql.SQL("SELECT count(*) FROM {} WHERE {}").format(source, condition), values)
    text = sql.SQL("SELECT {} FROM {} WHERE {}{}").format(
        selected(node, name, columns), source, condition, order(arguments.get("order_by"), columns)
    )
    for word in ("limit", "offset"):
        if arguments.get(word) is not None:
            text += sql.SQL(f" {word.upper()} {int(arguments[word])}")
    return kind, (text, values)


def order(wanted: Any, columns: dict[str, str]) -> sql.Composable:  # noqa: ANN401 - a GraphQL value
    """Return the ORDER BY of a query, or nothing."""
    parts = []
    for one in wanted if isinstance(wanted, list) else [wanted] if wanted else []:
        for column, direction in one.items():
            if column not in columns:
                raise QueryError(f"field '{column}' not found in order_by")
            way = "DESC" if str(direction).startswith("desc") else "ASC"
            parts.append(sql.SQL("{} " + way).format(sql.Identifier(column)))
    return sql.SQL(" ORDER BY ") + sql.SQL(", ").join(parts) if parts else sql.SQL("")


def where(wanted: dict[str, Any], columns: dict[str, str]) -> tuple[sql.Composable, list[Any]]:
    """Return a boolean expression and its values."""
    parts: list[sql.Composable] = []
    values: list[Any] = []
    for name, condition in wanted.items():
        if name in {"_and", "_or"}:
            below = [where(one, columns) for one in condition]
            parts.append(
                sql.SQL("({})").format(sql.SQL(f" {name[1:].upper()} ").join(one for one, _ in below))
            )
            values.extend(value for _, more in below for value in more)
        elif name == "_not":
            part, more = where(condition, columns)
            parts.append(sql.SQL("NOT ({})").format(part))
            values.extend(more)
        else:
            for part, value in compare(name, condition, columns):
                parts.append(part)
                values.extend(value)
    return (sql.SQL(" AND ").join(parts) if parts else sql.SQL("true")), values


def compare(
    name: str, condition: dict[str, Any], columns: dict[str, str]
) -> list[tuple[sql.Composable, list[Any]]]:
    """Return the comparisons of one column."""
    if name not in columns:
        raise QueryError(f"field '{name}' not found in the where expression")
    column, kind = sql.Identifier(name), sql.SQL(columns[name])
    found: list[tuple[sql.Composable, list[Any]]] = []
    for operator, value in condition.items():
        if operator == "_is_null":
            found.append((sql.SQL("{} IS " + ("NULL" if value else "NOT NULL")).format(column), []))
        elif operator in {"_in", "_nin"}:
            test = sql.SQL(
                "{} = ANY (%s::text[]::{}[])" if operator == "_in" else "{} <> ALL (%s::text[]::{}[])"
            )
            found.append((test.format(column, kind), [[str(one) for one in value]]))
        elif operator in COMPARE:
            text = None if value is None else str(value)
            found.append((sql.SQL("{} " + COMPARE[operator] + " %s::text::{}").format(column, kind), [text]))
        else:
            raise QueryError(f"unknown operator {operator}")
    return found
