//! Makes trained networks small and fast, and runs them: the facade library and the command.
