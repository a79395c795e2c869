/** The JSON schema of a page of a DTO, for a route's declared reply. */
export function pageSchema(itemName: string): { readonly free: Readonly<Record<string, unknown>> } {
  return {
    free: {
      type: 'object',
      required: ['items', 'next'],
      properties: {
        items: { type: 'array', items: { $ref: `#/components/schemas/${itemName}` } },
        next: { type: ['string', 'null'] },
      },
    },
  };
}
