package config

import "strings"

// Nearest returns the candidate that word most likely stands for, or "" where none is near: a third of its letters, at least one and at
// most three, may be wrong, missing, too many or swapped with their neighbour.
func Nearest(word string, candidates []string) string {
	best, least := "", min(3, max(1, len(word)/3))+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c), least); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance returns how many letters must be changed to make a into b, and no more than most. Swapping two neighbours counts once.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	// rows[i] is the row of the beginning of a with i letters, which needs the two before it.
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return min(most, rows[len(a)][len(b)])
}
