/* The hidden numbers as the upper layer reads them. */
static void hide(${name}_work *work)
{
    int32_t i;

    dense(lower_weight, HIDDEN, COLUMNS, work->x, offset(work->x, COLUMNS), work->sum);
    for (i = 0; i < HIDDEN; i++)
        work->hidden[i] = hidden(scaled(work->sum[i], lower_multiplier[i]) + lower_bias[i],
                                 &work->saturated);
    for (; i < HIDDEN_COLUMNS; i++)
        work->hidden[i] = 0;
}
