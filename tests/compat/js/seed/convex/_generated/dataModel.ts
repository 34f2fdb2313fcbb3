// The part of the generated types that the hooks import.
export type Id<TableName extends string> = string & { __tableName: TableName };
