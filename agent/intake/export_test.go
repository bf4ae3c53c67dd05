package intake

// The bounds of a batch.
const (
	MaxBatch   = maxBatch
	MaxForgets = maxForgets
)
