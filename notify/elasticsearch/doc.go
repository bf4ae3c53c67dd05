// Package elasticsearch stores incidents in Elasticsearch or OpenSearch, and believes the verdict of each item, not the status of the
// request: a 200 whose items are missing, or say no, delivered nothing.
//
// One document is one content of an incident, created under the incident's ID. A repeat is then a conflict, which proves that the
// document is there, and no duplicate.
//
// Protocol: POST /INDEX/_bulk with action create. Source: elastic/elasticsearch-specification, specification/_global/bulk;
// opensearch-project/documentation-website, _api-reference/document-apis/bulk.md.
package elasticsearch
