int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    read_features(features, work);
    two_dense(work);
    return largest(work->logits);
}
