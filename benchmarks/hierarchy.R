# Seconds of the processor that a mixed model takes.
#
#     Rscript hierarchy.R DATA FAMILY FORMULA lme4|glmmTMB|rstanarm
#
# DATA is R code that defines vectors and the data frame `rows`.
arguments <- commandArgs(trailingOnly = TRUE)
source(arguments[1])
family <- arguments[2]
formula <- as.formula(arguments[3])
package <- arguments[4]
counts <- family == "neg_binomial_2"
loadNamespace(package)

fit <- list(
  lme4 = function() {
    if (family == "gaussian") lme4::lmer(formula, rows)
    else if (counts) lme4::glmer.nb(formula, rows)
    else lme4::glmer(formula, rows, family)
  },
  glmmTMB = function() {
    glmmTMB::glmmTMB(formula, rows, if (counts) glmmTMB::nbinom2() else family)
  },
  rstanarm = function() {
    law <- if (counts) rstanarm::neg_binomial_2() else get(family)()
    rstanarm::stan_glmer(
      formula, rows, law, chains = 4, iter = 2000, cores = 1, refresh = 0, seed = 1
    )
  }
)[[package]]

begin <- proc.time()
invisible(suppressWarnings(suppressMessages(fit())))
spent <- proc.time() - begin
cat(sum(spent[c("user.self", "sys.self")]), "\n")
