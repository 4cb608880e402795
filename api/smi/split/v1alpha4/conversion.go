package v1alpha4

// Hub marks the version that the others are converted to and from, and that is stored.
func (*TrafficSplit) Hub() {}
